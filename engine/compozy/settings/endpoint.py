"""Read from an address where its connection goes and how it is protected.

Nothing is raised for an address that cannot be parsed: whether it is valid is checked elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from urllib.parse import parse_qsl

from compozy.settings.values import is_loopback

_AUTHORITY = re.compile(r"([^/?#]*)(?:/[^?#]*)?(?:\?([^#]*))?")
_WORD = re.compile(r"(\w+)\s*=\s*('(?:[^'\\]|\\.)*'|\S*)")
_PORT = re.compile(r":\d*\Z")
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
        if self.scheme == "rediss":
            unchecked = (self.options.get(name, "").casefold() in words for name, words in _UNCHECKED.items())
            return "unverified" if any(unchecked) else "verified"
        if self.scheme in ("redis", "http"):
            return "clear"
        if self.scheme == "https":
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
    authority, query = (found[1], found[2] or "") if found else ("", "")
    userinfo, _, hosts = authority.rpartition("@")
    options = dict(parse_qsl(query))
    has_password = bool(userinfo.partition(":")[2] or options.get("password"))
    return Endpoint(scheme.casefold(), _hosts(options.get("host") or hosts), has_password, options)


def _hosts(text: str) -> tuple[str, ...]:
    return tuple(_PORT.sub("", host).strip("[]") for host in text.split(",") if host)
