"""Keep secrets out of every output.

What comes in: settings, values, texts. What goes out: the same with `[REDACTED]` in the place of
secrets: whole values of secret settings, user information and secret parameters of URLs, and any
text that contains a known secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any
from urllib.parse import unquote

from compozy.settings.registry import Setting

REDACTED = "[REDACTED]"
# Stands for one hidden character, where columns must stay what they are.
MASK = "\ue000"
_SHORTEST = 4
_WORDS = ("password", "passwd", "passphrase", "secret", "token", "api_key", "apikey", "credential")
_NAMES = (
    r"password|passwd|passphrase|\bpwd\b|secret|token(?!s)|api[_-]?key|access[_-]?key|private[_-]?key|"
    r"credential|authorization|signature"
)
_SECRET_NAME = re.compile(rf"(?i)(?:{_NAMES})")
_USERINFO = re.compile(r"(?<=://)[^/?#\s]*@")
# A password with an unescaped slash still ends at the last @ that a host follows.
_LOOSE_USERINFO = re.compile(r"(?<=://)\S*@(?=[^/?#\s@]*(?:[/?#]|\Z))")
_PARAMETER = re.compile(
    rf"(?i)((?:(?:^|[?&;\s])[\w.-]*(?:{_NAMES})|[?&](?:key|auth|sig|pass))\s?=\s?)"
    r"('(?:[^'\\]|\\.)*'|[^&;#\s]*)"
)
_KEY = re.compile(r"([A-Za-z_][\w.-]*)[\"']?\s*[:=]\s*")
_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"?|'(?:[^']|'')*'?")
_IN_FLOW = re.compile(r"[^,}\]]*")


def is_secret_name(name: str) -> bool:
    """Tell whether a key or a variable of this name holds a secret.

    >>> [is_secret_name(name) for name in ("OPENAI_API_KEY", "max_tokens", "Authorization")]
    [True, False, True]
    """
    return _SECRET_NAME.search(name) is not None


def redact_url(text: str) -> str:
    """Return `text` with user information and secret parameters of the URLs in it replaced.

    >>> redact_url("postgres://me:pw@db/x?sslmode=require&token=t")
    'postgres://[REDACTED]@db/x?sslmode=require&token=[REDACTED]'
    """
    if "=" in text:
        text = _PARAMETER.sub(rf"\1{REDACTED}", text)
    return _USERINFO.sub(f"{REDACTED}@", text) if "@" in text else text


def redact_value(setting: Setting, value: Any) -> Any:
    """Return `value` fit for output; lists and maps are redacted field by field."""
    if value is None or value == "":
        return value
    if setting.secret:
        return REDACTED
    if isinstance(value, (list, tuple)):
        return [redact_value(setting, item) for item in value]
    if isinstance(value, dict):
        return {key: _redact_field(setting, key, item) for key, item in value.items()}
    if not isinstance(value, str):
        return value
    return redact_url(_LOOSE_USERINFO.sub(f"{REDACTED}@", value) if setting.secret_parts else value)


def _redact_field(setting: Setting, key: str, value: Any) -> Any:
    item = setting.items.get(key)
    if item is not None:
        return redact_value(item, value)
    return REDACTED if value is not None and is_secret_name(key) else redact_value(setting, value)


class Redactor:
    """Replaces every known secret in any text; secrets shorter than four characters only as whole values."""

    def __init__(self, secrets: Iterable[str]) -> None:
        lines = {line.strip() for secret in secrets for line in (secret, *secret.splitlines())}
        longest_first = sorted((line for line in lines if len(line) >= _SHORTEST), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __repr__(self) -> str:
        return "Redactor()"

    def text(self, text: str) -> str:
        """Return `text` without secrets."""
        return redact_url(self._pattern.sub(REDACTED, text) if self._pattern else text)

    def masked(self, text: str) -> str:
        """Return `text` with every character of a secret masked, so that columns stay what they are."""
        if self._pattern is not None:
            text = self._pattern.sub(_mask, text)
        return _USERINFO.sub(_mask, _PARAMETER.sub(lambda found: found[1] + _mask_text(found[2]), text))


class MaskedTexts(Mapping[str, str]):
    """The texts of files by name, masked when they are read; neither they nor their secrets show in `repr`."""

    def __init__(self, texts: Mapping[str, str], redactor: Redactor) -> None:
        self._texts = texts
        self._redactor = redactor
        self._masked: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        if name not in self._masked:
            self._masked[name] = self._redactor.masked(self._texts[name])
        return self._masked[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)


def _mask(found: re.Match[str]) -> str:
    return _mask_text(found[0])


def _mask_text(text: str) -> str:
    return "".join(char if char in "\r\n" else MASK for char in text)


def masked_line(line: str) -> str:
    """Return a line of a file with the values of keys that sound secret masked, misspelled ones too.

    It knows no settings, so it also serves where the file could not be read.

    >>> masked_line("{host: db, pasword: hunter2, port: 1}").replace(MASK, "*")
    '{host: db, pasword: *******, port: 1}'
    """
    at = 0
    while (found := _KEY.search(line, at)) is not None:
        at = found.end()
        if _sounds_secret(found[1]):
            end = _value_end(line, at)
            line = line[:at] + _mask_text(line[at:end]) + line[end:]
            at = end
    return line


def _sounds_secret(key: str) -> bool:
    leaf = re.split(r"\.|__", key.casefold())[-1]
    return is_secret_name(leaf) or bool(get_close_matches(leaf, _WORDS, 1, 0.8))


def _value_end(line: str, at: int) -> int:
    quoted = _QUOTED.match(line, at)
    if quoted is not None:
        return quoted.end()
    flow = _IN_FLOW.match(line, at)
    inside = line.count("{", 0, at) > line.count("}", 0, at)
    return flow.end() if flow is not None and inside else len(line)


def secret_parts(text: str) -> Iterator[str]:
    """Yield the secrets inside a URL: the password of its user information and its secret parameters."""
    for pattern in (_USERINFO, _LOOSE_USERINFO):
        for userinfo in pattern.findall(text):
            _, _, password = userinfo[:-1].partition(":")
            yield from _spellings(password or userinfo[:-1])
    for found in _PARAMETER.finditer(text):
        yield from _spellings(found[2].strip("'"))


def _spellings(secret: str) -> Iterator[str]:
    """Yield a secret as written in a URL and as a driver sees it."""
    yield secret
    if "%" in secret:
        yield unquote(secret)


def may_hold_secrets(setting: Setting) -> bool:
    """Tell whether a value of this setting is, or may hold, a secret."""
    return setting.secret or setting.secret_parts or setting.type in ("list", "map")


def secrets_in(setting: Setting, value: Any) -> Iterator[str]:
    """Yield every secret text in a value of the setting."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _secrets_in_field(setting, key, item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from secrets_in(setting, item)
    elif setting.secret and value is not None:
        yield str(value)
    elif isinstance(value, str):
        yield from secret_parts(value)


def _secrets_in_field(setting: Setting, key: str, value: Any) -> Iterator[str]:
    item = setting.items.get(key)
    hidden = item is None and not setting.secret and is_secret_name(key)
    yield from secrets_in(replace(setting, secret=True) if hidden else item or setting, value)
