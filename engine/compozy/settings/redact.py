"""Keep secrets out of every output.

What comes in: settings, values, texts. What goes out: the same with `[REDACTED]` in the place of
secrets: whole values of secret settings, user information and secret parameters of URLs, and any
text that contains a known secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from compozy.settings.registry import Setting

REDACTED = "[REDACTED]"
_USERINFO = re.compile(r"(?<=://)[^/?#\s]*@")
_PARAMETER = re.compile(
    r"(?i)([?&;](?:[\w.-]*(?:token|password|passwd|secret|api[_-]?key|access[_-]?key|signature|sslpassword))=)[^&;#\s]*"
)
_SHORTEST = 4


def redact_url(text: str) -> str:
    """Return `text` with user information and secret parameters of the URLs in it replaced.

    >>> redact_url("postgres://me:pw@db/x?sslmode=require&token=t")
    'postgres://[REDACTED]@db/x?sslmode=require&token=[REDACTED]'
    """
    return _PARAMETER.sub(rf"\1{REDACTED}", _USERINFO.sub(f"{REDACTED}@", text))


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
    return redact_url(value) if isinstance(value, str) else value


_SECRET_NAME = re.compile(r"(?i)(password|passwd|secret|token|api_?key|access_?key|credential|private_?key)")


def _redact_field(setting: Setting, key: str, value: Any) -> Any:
    item = setting.items.get(key)
    if item is not None:
        return redact_value(item, value)
    scalar = not isinstance(value, (dict, list, tuple))
    return REDACTED if scalar and value is not None and _SECRET_NAME.search(key) else redact_value(setting, value)


class Redactor:
    """Replaces every known secret in any text; secrets shorter than four characters only as whole values."""

    def __init__(self, secrets: Iterable[str]) -> None:
        longest_first = sorted({secret for secret in secrets if len(secret) >= _SHORTEST}, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __repr__(self) -> str:
        return "Redactor()"

    def text(self, text: str) -> str:
        """Return `text` without secrets."""
        without = self._pattern.sub(REDACTED, text) if self._pattern else text
        return redact_url(without)


def secret_parts(text: str) -> Iterable[str]:
    """Yield the secrets inside a URL: the password of its user information and its secret parameters."""
    for userinfo in _USERINFO.findall(text):
        _, _, password = userinfo[:-1].partition(":")
        yield password or userinfo[:-1]
    for found in _PARAMETER.finditer(text):
        yield found.group(0)[len(found.group(1)) :]
