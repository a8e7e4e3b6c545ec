"""Replace what matches the patterns of a memory before a message is kept.

The patterns are those of RE2, whose time is linear in the text, so that none of them can hang a writer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from compozy.settings.redact import REDACTED


class RedactionPatterns:
    """Compiled patterns, applied in order to every text of a content, keys of objects included.

    `hide` takes the secrets of the configuration out of a text before.
    """

    def __init__(self, patterns: Sequence[str], hide: Callable[[str], str]) -> None:
        self._patterns = patterns
        self._hide = hide
        self._compiled: list[re.Pattern[str]] | None = None

    def apply(self, content: object) -> object:
        """Return a JSON value with every match in it replaced by `[REDACTED]`."""
        if isinstance(content, str):
            return self._text(content)
        if isinstance(content, list | tuple):
            return [self.apply(item) for item in content]
        if isinstance(content, dict):
            return {self._text(str(key)): self.apply(value) for key, value in content.items()}
        return content

    def _text(self, text: str) -> str:
        if self._compiled is None:
            # At first use, because loading RE2 delays a start.
            self._compiled = list(map(_compiled, self._patterns))
        # Secrets first: a pattern could split one, and the rest would no longer be recognised.
        text = self._hide(text)
        for pattern in self._compiled:
            text = pattern.sub(REDACTED, text)
        return text


def _compiled(pattern: str) -> re.Pattern[str]:
    import re2  # 6 ms, and most memories have no patterns

    return re2.compile(pattern)
