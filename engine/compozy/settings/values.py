"""Parse a written text or YAML value into a value of the setting's type.

Durations become seconds, sizes become bytes, paths become absolute. A `ValueError` names the expected form. The origin
of the value is not known here.
"""

from __future__ import annotations

import math
import os.path
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

from compozy.base.document import resolve_scalar
from compozy.settings.registry import Setting

# Also the patterns of the JSON Schema, so only what every dialect of regular expressions knows.
DURATION = r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|us|s|m|h|d))+"
SIZE = r"([0-9]+(?:\.[0-9]+)?)\s*((?:[KkMmGgTt][Ii]?)?[Bb])"
ZERO = r"-?0(?:\.0*)?"
PORT = "0*(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_HOST = r"(?:\[[^\]\s]*\]|[^\s:@,/?#\[\]]+)"
_HOSTS = rf"{_HOST}?(?::(?:{PORT})?)?"
HOST_PORT = f"{_HOST}:{PORT}"
_IPV6 = r"[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(?:%[0-9A-Za-z_.-]+)?"
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"{_OCTET}(?:\.{_OCTET}){{3}}"
# Four numbers with dots between them are an IPv4 address and no name.
_NO_IPV4 = r"(?![0-9]+(?:\.[0-9]+){3}\s*(?:,|$))"
LISTEN_ADDRESS = rf"\[{_IPV6}\]|{_IPV6}|{_IPV4}|{_NO_IPV4}[0-9A-Za-z_](?:[0-9A-Za-z_.-]*[0-9A-Za-z_.])?"
# One of several hosts, as PostgreSQL takes them; a path is the directory or file of a socket.
_ANY_HOST = rf"(?:/[^,\r\n]*|\[{_IPV6}\]|{_IPV6}|{_IPV4}|{_NO_IPV4}{_HOST})"
HOSTS = rf"{_ANY_HOST}?(?:,{_ANY_HOST}?)*"
NAME = "[A-Za-z0-9][A-Za-z0-9_.-]*"
# A host with a port or without, or the addresses that begin with some bits.
NETWORK = rf"(?:\[{_IPV6}\]|{_IPV4}|{_NO_IPV4}[^\s:@,/?#\[\]*]+)(?::{PORT})?|(?:{_IPV6}|{_IPV4})(?:/[0-9]{{1,3}})?"
_FORMS = {"listen_address": LISTEN_ADDRESS, "host": HOSTS, "name": NAME, "network": NETWORK}
# What stands between scheme and the end of a URL; several hosts are an address of PostgreSQL.
_AUTHORITY = rf"(?:[^/?#]*@)?{_HOSTS}(?:,{_HOSTS})*(?:[/?#][\s\S]*)?"
# Among the schemes of a URL: an address of key=value words.
KEYWORDS = "="
_KEYWORDS = r"[a-z_]+\s*=[\s\S]*"
_DURATION = re.compile(DURATION + r"\Z")
_SIZE = re.compile(SIZE + r"\Z")
_ZERO = re.compile(ZERO + r"\Z")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|us|s|m|h|d)")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_UNITS = tuple(reversed(_SECONDS.items()))
_POWERS = {"b": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
MEMORY = ":memory:"
# The shortest key, in characters, that protects a listener which other machines reach.
KEY_LENGTH = 16
_LONGEST = 60
HEADER = r"[!-~]*"
# What threads, clocks and databases can hold.
LONGEST_S = 876_000 * 3600.0
LARGEST = 2**63 - 1


def parse_duration(text: str) -> float:
    """Return seconds.

    >>> [parse_duration(text) for text in ("500ms", "5m", "1h30m", "0")]
    [0.5, 300.0, 5400.0, 0.0]

    Raises:
        ValueError: no number with a unit of us, ms, s, m, h or d, or more than a hundred years.
    """
    if _ZERO.match(text):
        return 0.0
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text))
    if not _DURATION.match(text) or not math.isfinite(seconds):
        raise ValueError("expected a duration such as 500ms, 5m or 168h")
    if seconds > LONGEST_S:
        raise ValueError("expected a duration of at most 876000h, a hundred years")
    return seconds


def duration_text(seconds: float) -> str:
    """Return seconds as `parse_duration` reads them, in the largest units that are exact to a microsecond.

    >>> [duration_text(seconds) for seconds in (0.5, 300.0, 5400.0, 604800.0, 0.0, 1.25)]
    ['500ms', '5m', '1h30m', '7d', '0s', '1s250ms']
    """
    left, text = round(seconds * 1e6), ""
    for unit, size in _UNITS:
        count, left = divmod(left, round(size * 1e6))
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def parse_size(text: str) -> int:
    """Return bytes; KB is 1000 and KiB is 1024 bytes.

    >>> [parse_size(text) for text in ("512B", "64KiB", "1.5MB")]
    [512, 65536, 1500000]

    Raises:
        ValueError: no number with a unit.
    """
    if _ZERO.match(text):
        return 0
    found, size = _SIZE.match(text), math.inf
    if found is not None:
        number, unit = found.groups()
        size = float(number) * (1024 if "i" in unit.lower() else 1000) ** _POWERS[unit[0].lower()]
    if size > LARGEST:
        raise ValueError("expected a size such as 512KB, 64MiB or 1GB")
    return int(size)


def size_text(size: int) -> str:
    """Return bytes as `parse_size` reads them, in the exact unit that is shortest.

    >>> [size_text(size) for size in (512, 65536, 1500000, 0)]
    ['512B', '64KiB', '1500KB', '0B']
    """
    found = [f"{size}B"]
    for step, tail in ((1024, "iB"), (1000, "B")):
        left = size
        for prefix in "KMGT":
            left, rest = divmod(left, step)
            if rest or not left:
                break
            found.append(f"{left}{prefix}{tail}")
    return min(found, key=len)


def _integer(text: str) -> int:
    return whole(resolve_scalar(text))


def whole(value: object) -> int:
    """Return a whole number; 8080.0 is one, as in JSON.

    Raises:
        ValueError: it is none.
    """
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    if not isinstance(number, int) or isinstance(number, bool):
        raise ValueError("expected a whole number")
    if abs(number) > LARGEST:
        raise ValueError("expected a whole number of at most 64 bits")
    return number


def _number(text: str) -> float:
    return finite(resolve_scalar(text))


def finite(value: object) -> float:
    """Return a number that is not infinite, nor a whole one of more than 64 bits.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return whole(value)
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise ValueError("expected a number")


def _true_or_false(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError("expected true or false")


def _boolean(text: str) -> bool:
    try:
        return _BOOLEANS[text.casefold()]
    except KeyError:
        raise ValueError("expected true or false") from None


def form(setting: Setting) -> str | None:
    """Return the pattern of an address or of a header; None where a setting is neither, or an address of any form."""
    if setting.type in _FORMS:
        return _FORMS[setting.type]
    if setting.header:
        return HEADER
    if setting.host_port:
        return HOST_PORT
    if not setting.schemes:
        return None
    schemes = "|".join("".join(f"[{char}{char.upper()}]" for char in scheme) for scheme in _schemes(setting))
    return f"(?:{schemes})://{_AUTHORITY}" + (f"|{_KEYWORDS}" if KEYWORDS in setting.schemes else "")


def has_form(setting: Setting, value: object) -> bool:
    """Return True if a value looks as the addresses of its setting must; other settings have no form."""
    pattern = form(setting)
    return pattern is None or fully_matches(pattern, str(value or ""))


def fully_matches(pattern: str, text: str) -> bool:
    """Return True if all of a text matches the pattern, or the text is empty."""
    return _compiled(pattern).fullmatch(text) is not None


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(f"(?:{pattern})?")


def form_words(setting: Setting) -> str:
    """Return what an address or a header must look like, in words."""
    if setting.type == "listen_address":
        return "expected an IP address or a host name, without a port"
    if setting.type == "host":
        return "expected a host name, an IP address or the path of a socket, without a port"
    if setting.type == "network":
        return "expected a host, host:port, an IP address or a network such as 10.0.0.0/8"
    if setting.type == "name":
        return "expected letters, digits, _, - and ., beginning with a letter or digit"
    if setting.header:
        return "expected visible ASCII characters without blanks and line breaks, which a header can carry"
    if setting.host_port:
        return "expected host:port, with a port between 1 and 65535"
    schemes = " or ".join(f"{scheme}://" for scheme in _schemes(setting))
    return f"expected a URL that starts with {schemes}; a port in it is between 1 and 65535"


# An address that stands for all of this machine -> one of them.
EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def is_loopback(host: str) -> bool:
    """Return True if only this machine reaches a listener at `host`: `localhost`, an address of 127.0.0.0/8 or ::1.

    >>> [is_loopback(host) for host in ("localhost", "127.0.0.2", "[::1]", "0.0.0.0", "", "db.example.org")]
    [True, True, True, False, False, False]
    """
    name = host.strip("[]").casefold()
    if name == "localhost" or not (name[:1].isdigit() or ":" in name):
        return name == "localhost"
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _host(text: str) -> str:
    text = text.strip()
    return text[1:-1] if text.startswith("[") and text.endswith("]") else text


def _schemes(setting: Setting) -> Iterator[str]:
    return (scheme for scheme in setting.schemes if scheme != KEYWORDS)


def _pattern(text: str) -> str:
    import re2

    options = re2.Options()
    # RE2 would print the error on stderr as well.
    options.log_errors = False
    try:
        re2.compile(text, options)
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace")
        raise ValueError(f"expected a regular expression of RE2, which has no lookaround: {reason}") from error
    return text


def _stripped(parse: Callable[[str], object]) -> Callable[[str], object]:
    return lambda text: parse(text.strip())


_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "text": str,
    "url": str,
    "path": str,
    "host": _host,
    "listen_address": _host,
    "name": str.strip,
    "network": str.strip,
    "pattern": _pattern,
    "choice": lambda text: text.strip().casefold(),
    "integer": _stripped(_integer),
    "number": _stripped(_number),
    "boolean": _stripped(_boolean),
    "duration": _stripped(parse_duration),
    "size": _stripped(parse_size),
}
_NATIVE: Mapping[str, Callable[[object], object]] = {"integer": whole, "number": finite, "boolean": _true_or_false}


def from_text(setting: Setting, text: str, directory: str) -> object:
    """Parse a text from the environment, a flag or an expanded variable; `directory` anchors relative paths.

    Raises:
        ValueError: the text is not of the setting's type; the message names the expected form.
    """
    if setting.type in ("list", "map"):
        raise ValueError(f"expected a {setting.type} in YAML")
    # Paths are bytes to the system and may hold surrogate escapes; everything else is stored as UTF-8.
    if "\0" in text or (setting.type != "path" and not _is_utf8(text)):
        raise ValueError("expected UTF-8 text without NUL characters")
    value = _PARSERS[setting.type](text)
    if setting.type == "path":
        return anchor(setting, value, directory)
    if setting.schemes or setting.host_port:
        return value.strip() or value
    return setting.also.get(value, value) if setting.also else value


def is_unset(setting: Setting, text: object) -> bool:
    """Return True if a text counts as not set: it is blank, and the setting has no use for that."""
    return isinstance(text, str) and setting.ignores_empty and not text.strip()


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def from_yaml(setting: Setting, value: object, text: str, directory: str) -> object:
    """Parse a YAML scalar `value` that was written as `text`; native types are not converted.

    Raises:
        ValueError: the value is not of the setting's type; the message names the expected form.
    """
    native = _NATIVE.get(setting.type)
    if native is not None:
        return native(value)
    if isinstance(value, (dict, list)):
        raise ValueError(f"expected a {setting.type}")
    return from_text(setting, text, directory)


def found_text(text: object) -> str:
    """Return the words that quote the written text, shortened.

    >>> found_text("eighty")
    'found "eighty"'
    """
    shown = str(text)
    return f'found "{shown}"' if len(shown) <= _LONGEST else f'found "{shown[:_LONGEST]}..."'


def anchor(setting: Setting, path: str, directory: str) -> str:
    """Return `path` seen from `directory`; `:memory:` and the empty text stay as they are.

    Raises:
        ValueError: it begins with the home directory of a user who does not exist.
    """
    if not path or (setting.memory and path == MEMORY):
        return path
    return os.path.join(directory, home_expanded(path).removeprefix("./"))


def home_expanded(path: str) -> str:
    """Return `path` with `~` or `~user` at its beginning replaced by that home directory.

    Raises:
        ValueError: the user does not exist.
    """
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        raise ValueError(f"expected a path; {path.partition('/')[0]} is not a user (./{path} is a file of that name)")
    return expanded
