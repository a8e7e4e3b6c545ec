"""Turn what somebody wrote into a value of the setting's type, once.

What comes in: a setting with a text (environment, flag, expanded variable) or a YAML value.
What goes out: text, int, float, bool, seconds for durations, bytes for sizes, absolute paths; or a
`ValueError` whose text says what was expected. Nothing here knows where the value came from.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable, Mapping
from typing import Any

from compozy.settings.registry import Setting

DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|us|s|m|h|d))+\Z")
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)\Z", re.IGNORECASE)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|us|s|m|h|d)")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_POWERS = {"b": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
MEMORY = ":memory:"


def parse_duration(text: str) -> float:
    """Return seconds.

    >>> [parse_duration(text) for text in ("500ms", "5m", "1h30m", "0")]
    [0.5, 300.0, 5400.0, 0.0]

    Raises:
        ValueError: no number with a unit of us, ms, s, m, h or d.
    """
    if text == "0":
        return 0.0
    if not DURATION.match(text):
        raise ValueError("expected a duration such as 500ms, 5m or 168h")
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text))


def parse_size(text: str) -> int:
    """Return bytes; KB is 1000 and KiB is 1024 bytes.

    >>> [parse_size(text) for text in ("512B", "64KiB", "1.5MB")]
    [512, 65536, 1500000]

    Raises:
        ValueError: no number with a unit.
    """
    found = SIZE.match(text)
    if found is None:
        raise ValueError("expected a size such as 512KB, 64MiB or 1GB")
    number, unit = found.groups()
    step = 1024 if "i" in unit.lower() else 1000
    return int(float(number) * step ** _POWERS[unit[0].lower()])


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("expected a whole number") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("expected a number") from None


def _boolean(text: str) -> bool:
    try:
        return _BOOLEANS[text.casefold()]
    except KeyError:
        raise ValueError("expected true or false") from None


def _stripped(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: parse(text.strip())


_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "text": str,
    "url": str,
    "path": str,
    "choice": lambda text: text.strip().casefold(),
    "integer": _stripped(_integer),
    "number": _stripped(_number),
    "boolean": _stripped(_boolean),
    "duration": _stripped(parse_duration),
    "size": _stripped(parse_size),
}
_NATIVE: Mapping[str, tuple[type, ...]] = {"integer": (int,), "number": (int, float), "boolean": (bool,)}
_EXPECTED = {"integer": "expected a whole number", "number": "expected a number", "boolean": "expected true or false"}


def from_text(setting: Setting, text: str, directory: str) -> Any:
    """Parse a text from the environment, a flag or an expanded variable; `directory` anchors relative paths.

    Raises:
        ValueError: the text is not of the setting's type; the message says what was expected.
    """
    if setting.type in ("list", "map"):
        raise ValueError(f"expected a {setting.type} in YAML")
    value = _PARSERS[setting.type](text)
    if setting.type == "path":
        return anchor(setting, value, directory)
    return setting.also.get(value, value) if setting.also else value


def from_yaml(setting: Setting, value: Any, text: str, directory: str) -> Any:
    """Take a YAML scalar `value` that was written as `text`; native types are not converted.

    Raises:
        ValueError: the value is not of the setting's type; the message says what was expected.
    """
    native = _NATIVE.get(setting.type)
    if native is not None:
        if isinstance(value, native) and (bool in native) == isinstance(value, bool):
            return value
        raise ValueError(_EXPECTED[setting.type])
    if isinstance(value, (dict, list)):
        raise ValueError(f"expected a {setting.type}")
    return from_text(setting, text, directory)


def anchor(setting: Setting, path: str, directory: str) -> str:
    """Return `path` seen from `directory`; `:memory:` and the empty text stay as they are."""
    if not path or (setting.memory and path == MEMORY):
        return path
    return os.path.join(directory, path.removeprefix("./"))
