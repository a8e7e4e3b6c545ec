"""Measure the share of full-line comments among the lines of code of the engine.

`python tools/lint/comments.py` prints the share of each package and of the engine, and exits with 1 if the engine is
outside of the bounds of `LEAST` and `MOST`. A line of code holds at least one token that is neither a comment nor part
of a docstring, so that wording of docstrings does not change the figure.
"""

from __future__ import annotations

import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

ENGINE = Path(__file__).parents[2] / "engine" / "compozy"
LEAST, MOST = 0.03, 0.06
_LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING}
_LAYOUT.add(tokenize.ENDMARKER)


class Count(NamedTuple):
    """Full-line comments and lines of code of a text."""

    comments: int
    code: int

    @property
    def share(self) -> float:
        """Return comments per line of code."""
        return self.comments / self.code if self.code else 0.0


def count(text: str) -> Count:
    """Count the full-line comments and the lines of code of a module; a docstring is neither."""
    comments = 0
    code: set[int] = set()
    tokens = list(tokenize.generate_tokens(iter(text.splitlines(keepends=True)).__next__))
    starts_statement = True
    for token, following in zip(tokens, [*tokens[1:], tokens[-1]], strict=True):
        if token.type == tokenize.COMMENT and not token.line[: token.start[1]].strip():
            comments += 1
        if token.type in _LAYOUT:
            starts_statement = starts_statement or token.type == tokenize.NEWLINE
            continue
        # A string that is a whole statement is a docstring, also below an attribute.
        if not (starts_statement and token.type == tokenize.STRING and following.type == tokenize.NEWLINE):
            code.update(range(token.start[0], token.end[0] + 1))
        starts_statement = False
    return Count(comments, len(code))


def total(counts: Iterable[Count]) -> Count:
    """Return the sum of counts."""
    found = list(counts)
    return Count(sum(each.comments for each in found), sum(each.code for each in found))


def main() -> int:
    """Print the share of each package and return the exit code."""
    packages: dict[str, list[Count]] = defaultdict(list)
    for file in sorted(ENGINE.rglob("*.py")):
        packages[file.relative_to(ENGINE).parts[0]].append(count(file.read_text(encoding="utf-8")))
    engine = total(each for counts in packages.values() for each in counts)
    for name, found in [*((name, total(counts)) for name, counts in packages.items()), ("engine", engine)]:
        sys.stdout.write(f"{found.share:6.2%} {found.comments:5} / {found.code:6} {name}\n")
    return int(not LEAST <= engine.share <= MOST)


if __name__ == "__main__":
    sys.exit(main())
