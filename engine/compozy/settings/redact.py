"""Keep secrets out of every output.

`[REDACTED]` replaces whole values of secret settings, user information and secret parameters of URLs, and every
occurrence of a known secret in a text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from compozy.settings.registry import Setting

REDACTED = "[REDACTED]"
# Stands for one hidden character, where columns must stay what they are.
MASK = "\ue000"
_MASKED = re.compile(f"{MASK}+")
_SHORTEST = 4
# Shorter secrets are likely parts of other words, so they are replaced as words only.
_LIKELY_IN_WORDS = 8
_EDGES = (r"(?<![^\W_])", r"(?![^\W_])")
_BREAKS = "\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029"
_NAMES = (
    r"passwords?|passwd|passphrase|passcode|secrets?|token(?!s)|credentials?|authorization|signature|jwt|"
    r"(?:api|access|private|encryption|signing|master|shared)[_-]?key"
)
# Short ones, and words that other names begin with, count only as the last word of a name.
_LAST = r"pwd|pw|pass|auth|bearer|cookies?"
_SECRET_NAME = re.compile(rf"(?i)(?:{_NAMES})|(?:(?<![a-z])|(?-i:(?<=[a-z])(?=[A-Z])))(?:{_LAST})\d*\Z|\Akey\Z")
_USERINFO = re.compile(r"(?<=://)[^/?#\s]*@")
_BARE_USERINFO = re.compile(r"(?:(?<=\s)|(?<=[\"'])|\A)[^\s/@:\"'=]*:[^\s/@\"'=]+@(?=[\w\[])")
_PARAMETER = re.compile(
    rf"(?i)((?:(?:^|[?&;#\s\"'(])(?:[\w.-]*(?:{_NAMES})|[\w.-]*[_.-](?:{_LAST}))|[?&;#](?:key|sig|{_LAST}))\s?=\s?)"
    r"('(?:[^'\\]|\\.)*(?:'|\Z)|[^&;#\s]*)"
)
_WORD = re.compile(r"\S+")
# A header inside a text: what follows its name, up to the end of the line or the quote.
_HEADER = re.compile(
    r"(?i)((?<![\w-])(?:(?:proxy-)?authorization|(?:set-)?cookie|x-[\w-]{0,40}(?:key|token|secret|auth))\s*:\s*)"
    r"([^\r\n\"'\s][^\r\n\"']*)"
)
# A scheme of RFC 9110 with its credentials; a word of letters alone is prose.
_SCHEME = re.compile(r"(\b(?i:bearer|basic)\s+)((?=[A-Za-z~.-]{0,200}(?:[\d+/=_]|[a-z][A-Z]))[\w+/=~.-]{8,})")
# Each with a character without which it cannot match.
_IN_TEXT = (("=", _PARAMETER), (":", _HEADER), (" ", _SCHEME))
# The fields of a list that name what another field of the element holds.
_NAMING, _NAMED = ("name", "key", "header", "variable"), "value"


def is_secret_name(name: str) -> bool:
    """Return True if a key or a variable of this name holds a secret.

    >>> [is_secret_name(name) for name in ("OPENAI_API_KEY", "max_tokens", "DB_PWD", "auth", "auth_url")]
    [True, False, True, True, False]
    """
    return _SECRET_NAME.search(name) is not None


def redact_url(text: str) -> str:
    """Return `text` with user information and secret parameters of the URLs in it replaced.

    >>> redact_url("postgres://me:pw@db/x?sslmode=require&token=t")
    'postgres://[REDACTED]@db/x?sslmode=require&token=[REDACTED]'
    """
    for needed, pattern in _IN_TEXT:
        text = pattern.sub(rf"\1{REDACTED}", text) if needed in text else text
    return _USERINFO.sub(f"{REDACTED}@", text) if "@" in text else text


def redact_value(setting: Setting, value: object) -> Any:
    """Return `value` fit for output; lists and maps are redacted field by field."""
    if value is None or value == "":
        return value
    if setting.secret:
        return REDACTED
    if isinstance(value, (list, tuple)):
        return [redact_value(setting, item) for item in value]
    if isinstance(value, dict):
        named = _named_secret(value)
        return {key: REDACTED if key == named else _redact_field(setting, key, item) for key, item in value.items()}
    if not isinstance(value, str):
        return value
    return redact_url(_without_userinfo(value) if setting.secret_parts else value)


def _without_userinfo(address: str) -> str:
    found = _userinfo(address)
    return address if found is None else f"{address[: found[0]]}{REDACTED}{address[found[1] :]}"


def _userinfo(address: str) -> tuple[int, int] | None:
    """Return where the user information of an address is, also without a scheme, or with an unescaped slash in it."""
    end = address.rfind("@")
    scheme = address.find("://", 0, max(end, 0))
    return None if end < 0 else (scheme + 3 if scheme >= 0 else 0, end)


def _redact_field(setting: Setting, key: str, value: object) -> object:
    item = setting.items.get(key)
    if item is not None:
        return redact_value(item, value)
    return REDACTED if _is_secret_field(key, value) else redact_value(setting, value)


def _named_secret(fields: Mapping[object, object]) -> str | None:
    """Return the field that holds a secret because another field names it, as in `{name: API_KEY, value: x}`."""
    names = (str(fields.get(name)) for name in _NAMING)
    return _NAMED if fields.get(_NAMED) is not None and any(map(is_secret_name, names)) else None


def _is_secret_field(key: str, value: object) -> bool:
    """Return True if a field without a row of its own holds a secret; a boolean never does."""
    return value is not None and not isinstance(value, bool) and is_secret_name(key)


class Redactor:
    """Replaces every known secret in any text; those below eight characters as words, below four as whole values only.

    A secret is also known as a choice would spell it: trimmed and case-folded.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        # Each line of a secret of several lines, because outputs may show one of them alone.
        lines = {line.strip() for secret in secrets for line in (secret, *secret.splitlines())}
        lines |= {line.casefold() for line in lines}
        # The longest first: a secret that contains another one is replaced as a whole.
        longest_first = sorted((line for line in lines if len(line) >= _SHORTEST), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(_occurrences, longest_first))) if longest_first else None

    def __repr__(self) -> str:
        return "Redactor()"

    def text(self, text: str) -> str:
        """Return `text` without secrets, and without what looks like one in URLs and headers."""
        return redact_url(self.known(text))

    def known(self, text: str) -> str:
        """Return `text` without the known secrets."""
        return self._pattern.sub(REDACTED, text) if self._pattern else text

    def masked(self, text: str) -> str:
        """Return `text` with every character of a secret masked, so that columns stay what they are."""
        if self._pattern is not None:
            text = self._pattern.sub(_mask, text)
        for _, pattern in _IN_TEXT:
            text = pattern.sub(lambda found: found[1] + mask_text(found[2]), text)
        return _BARE_USERINFO.sub(_mask, _USERINFO.sub(_mask, text))


def _occurrences(secret: str) -> str:
    """Return the pattern of a secret; a short one has neither letters nor digits beside its own."""
    pattern = re.escape(secret)
    if len(secret) >= _LIKELY_IN_WORDS:
        return pattern
    before, after = (edge if char.isalnum() else "" for edge, char in zip(_EDGES, (secret[0], secret[-1]), strict=True))
    return before + pattern + after


class MaskedTexts(Mapping[str, str]):
    """The texts of files by name, masked when they are read; neither they nor their secrets show in `repr`.

    Texts of the product, named in `public`, hold no secrets.
    """

    def __init__(self, texts: Mapping[str, str], redactor: Redactor, public: Collection[str] = ()) -> None:
        self._texts = texts
        self._public = public
        self._redactor = redactor
        self._masked: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        if name not in self._masked:
            text = self._texts[name]
            self._masked[name] = text if name in self._public else self._redactor.masked(text)
        return self._masked[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)


def _mask(found: re.Match[str]) -> str:
    return mask_text(found[0])


def mask_text(text: str) -> str:
    """Return as many masks as `text` has characters; its line breaks stay."""
    return "".join(char if char in _BREAKS else MASK for char in text)


def readable(text: str) -> str:
    """Return masked text as people read it: `[REDACTED]` in the place of masks."""
    return _MASKED.sub(REDACTED, text)


def secret_parts(text: str) -> Iterator[str]:
    """Yield the secrets inside a URL: the password of its user information and its secret parameters."""
    # Also of addresses with an unescaped slash or @ in the password, which are invalid but show it all the same.
    loose = [word[0] for word in _WORD.finditer(text) if "://" in word[0]] if "@" in text else []
    yield from (part for userinfo in _USERINFO.findall(text) for part in _passwords(userinfo[:-1]))
    yield from (part for address in loose for part in _passwords_of(address))
    for found in _PARAMETER.finditer(text):
        yield from _spellings(found[2].strip("'"))
    yield from (found[2] for pattern in (_HEADER, _SCHEME) for found in pattern.finditer(text))


def _passwords_of(address: str) -> Iterator[str]:
    found = _userinfo(address)
    yield from _passwords(address[slice(*found)]) if found else ()


def _passwords(userinfo: str) -> Iterator[str]:
    _, _, password = userinfo.partition(":")
    yield from _spellings(password or userinfo)


def _spellings(secret: str) -> Iterator[str]:
    """Yield a secret as written in a URL and as a driver sees it."""
    yield secret
    if "%" in secret:
        yield unquote(secret)


def may_hold_secrets(setting: Setting) -> bool:
    """Return True if a value of this setting is, or may contain, a secret."""
    return setting.secret or setting.secret_parts or setting.type in ("list", "map")


def secrets_in(setting: Setting, value: object) -> Iterator[str]:
    """Yield every secret text in a value of the setting."""
    if isinstance(value, dict):
        named = _named_secret(value)
        for key, item in value.items():
            yield from secrets_in(replace(setting, secret=True), item) if key == named else ()
            yield from _secrets_in_field(setting, key, item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from secrets_in(setting, item)
    elif setting.secret and value is not None:
        yield str(value)
    elif isinstance(value, str):
        yield from _passwords_of(value) if setting.secret_parts else ()
        yield from secret_parts(value)


def _secrets_in_field(setting: Setting, key: str, value: object) -> Iterator[str]:
    item = setting.items.get(key)
    hidden = item is None and not setting.secret and _is_secret_field(key, value)
    yield from secrets_in(replace(setting, secret=True) if hidden else item or setting, value)
