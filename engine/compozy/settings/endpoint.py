"""Read from an address where its connection goes and how it is protected.

Nothing is raised for an address that cannot be parsed: whether it is valid is checked elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from functools import cached_property, lru_cache
from urllib.parse import parse_qsl, unquote

from compozy.base.record import dataclass
from compozy.settings.values import is_loopback

_AUTHORITY = re.compile(r"([^/?#]*)(/[^?#]*)?(?:\?([^#]*))?")
_WORD = re.compile(r"(\w+)\s*=\s*('(?:[^'\\]|\\.)*'|\S*)")
_ESCAPE = re.compile(r"\\(.)")
_PORT = re.compile(r":\d*\Z")
_HOST_PORT = re.compile(r"(\[[^\]]*\]|[^:]*)(?::(.*))?")
# Schemes in whose options a plus stands for a blank; libpq takes it as it is.
_PLUS_IS_BLANK = ("redis", "rediss", "unix")
# What libpq and Redis call the name of a database.
_NAMES = {"dbname": "name", "db": "name"}
# libpq's words for ssl_mode; only the last two check the server's certificate.
_PROTECTION = {
    "disable": "clear", "allow": "clear", "prefer": "clear",
    "require": "unverified", "verify-ca": "verified", "verify-full": "verified",
}  # fmt: skip
_UNCHECKED = {"ssl_cert_reqs": ("none", "optional", "cert_none", "cert_optional"), "ssl_check_hostname": ("false", "0")}


@dataclass(frozen=True)
class Endpoint:
    """An address in parts; no host means a server of this machine. `options` are those of the query."""

    scheme: str
    hosts: tuple[str, ...]
    has_password: bool
    options: Mapping[str, str] = field(repr=False)

    @cached_property
    def is_local(self) -> bool:
        """True if the connection cannot leave this machine."""
        return self.scheme == "unix" or all(host.startswith("/") or is_loopback(host) for host in self.hosts)

    @cached_property
    def protection(self) -> str:
        """`clear`, `unverified` or `verified` encryption, `unstated`, or `none` where nothing leaves this machine."""
        if self.is_local:
            return "none"
        # The options also hold where a setting of its own switches TLS on for redis://.
        if self.scheme in ("redis", "rediss") and any(
            self.options.get(name, "").casefold() in words for name, words in _UNCHECKED.items()
        ):
            return "unverified"
        if self.scheme in ("redis", "http"):
            return "clear"
        if self.scheme in ("rediss", "https"):
            return "verified"
        return _PROTECTION.get(self.options.get("sslmode", ""), "unstated")


@lru_cache(maxsize=1024)
def endpoint(address: str) -> Endpoint:
    """Return the parts of a URL, or of an address of key=value words.

    >>> endpoint("postgres://me:pw@db:5432,[::1]/shop?sslmode=require").hosts
    ('db', '::1')
    >>> endpoint("host=/run/pg password=pw").is_local
    True
    """
    scheme, separator, rest = address.strip().partition("://")
    if not separator:
        words = {name: text.strip("'") for name, text in _WORD.findall(address)}
        return Endpoint("", _hosts(words.get("host", "")), bool(words.get("password")), words)
    found = _AUTHORITY.match(rest)
    authority, query = (found[1], found[3] or "") if found else ("", "")
    userinfo, _, hosts = authority.rpartition("@")
    options = dict(parse_qsl(query))
    has_password = bool(userinfo.partition(":")[2] or options.get("password"))
    return Endpoint(scheme.casefold(), _hosts(options.get("host") or hosts), has_password, options)


def stated_parts(address: str) -> dict[str, str]:
    """Return the parts that an address states: host, port, user, password, name, tls and the options of its query.

    Several hosts, or ports, have commas between them. A part that the address excludes is empty.

    >>> stated_parts("postgres://me:p%40w@db:5433/shop?sslmode=require")
    {'host': 'db', 'port': '5433', 'user': 'me', 'password': 'p@w', 'name': 'shop', 'sslmode': 'require'}
    >>> stated_parts("rediss://cache/2"), stated_parts("host=/run/pg dbname='my shop'")
    ({'host': 'cache', 'name': '2', 'tls': 'true'}, {'host': '/run/pg', 'name': 'my shop'})
    >>> stated_parts("unix:///run/redis.sock?db=1")
    {'name': '1', 'host': '/run/redis.sock', 'port': '', 'tls': ''}
    """
    scheme, separator, rest = address.strip().partition("://")
    if not separator:
        return _named({name: _ESCAPE.sub(r"\1", text.strip("'")) for name, text in _WORD.findall(address)})
    found = _AUTHORITY.match(rest)
    authority, path, query = (part or "" for part in found.groups()) if found else ("", "", "")
    userinfo, _, hosts = authority.rpartition("@")
    user, _, password = userinfo.partition(":")
    each = [_HOST_PORT.fullmatch(host) for host in hosts.split(",")]
    host, port = (",".join(one[at] or "" for one in each if one) for at in (1, 2))
    parts = {"host": host.replace("[", "").replace("]", ""), "port": port, "user": user, "password": password}
    stated = {name: unquote(text) for name, text in (parts | {"name": path[1:]}).items() if text.strip(",")}
    tls = {"tls": "true"} if scheme.casefold() == "rediss" else {}
    if scheme.casefold() == "unix":
        stated.pop("name", None)
        tls = {"host": unquote(path), "port": "", "tls": ""}
    plus = "+" if scheme.casefold() in _PLUS_IS_BLANK else "%2B"
    return {**stated, **_named(dict(parse_qsl(query.replace("+", plus)))), **tls}


def _named(options: Mapping[str, str]) -> dict[str, str]:
    return {_NAMES.get(name, name): text for name, text in options.items()}


def _hosts(text: str) -> tuple[str, ...]:
    return tuple(_PORT.sub("", host).strip("[]") for host in text.split(",") if host)
