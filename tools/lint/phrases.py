"""Find phrases that plain technical English avoids, in code, rules and documentation.

`python tools/lint/phrases.py [PATH ...]` prints each one with its place and a replacement, and exits with 1 if it
finds one. Text in back quotes is code and is left out. An exception is a line of `phrases_allowed.txt`: path, a colon,
the phrase, a blank, `#` and the reason.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
ALLOWED = Path(__file__).with_name("phrases_allowed.txt")
MOST_ALLOWED = 20
SUFFIXES = (".py", ".md", ".yaml")
SEARCHED = (
    "benchmarks", "docs", "engine", "examples", "property_tests", "rules", "tests", "tools",
    "CHANGELOG.md", "CONTRIBUTING.md", "README.md", "SECURITY.md",
)  # fmt: skip
# Generated from other texts, recorded output, or the texts of other projects and languages.
LEFT_OUT = ("tests/golden/", "tests/vendor/", "tests/spec_blocks/", "tools/lint/", "tests/supply/test_phrases.py")
# Each phrase, and what to write instead.
PHRASES: tuple[tuple[str, str], ...] = (
    (r"somebody|someone", "name the actor: the user, the caller, another process"),
    (r"nobody|no one", "name what is absent: no process, unset, not configured"),
    (r"whoever|whatever|whichever", "name it: any user, every value"),
    (r"what is none|that is none", "invalid, not a ..."),
    (r"goes on|go on|going on|went on", "continues, keeps running"),
    (r"takes? back|taken back|took back", "roll back, undo"),
    (r"tells?|told", "return, report, print"),
    (r"says?|said", "reports, contains, states in a file: specifies"),
    (r"unheard|silenced", "ignored, overridden"),
    (r"gone|went away", "deleted, closed, missing, ended"),
    (r"by hand", "manually"),
    (r"makes? of it", "computes, derives"),
    (r"there (?:is|are) (?:no|none|nothing)", "unknown ..., no ... exists, not found, without ..."),
    (r"test_(?:\w+_)?(?:that|what|who|whose|whoever|which)_\w+", "name subject and behaviour"),
    (r'(?<=""")(?:what|who|whose|how|let|whether)', "begin with a verb, or with a noun for a record"),
    (r"let(?:s)? go of", "release"),
    (r"what comes in|what goes out", "state purpose and invariant in one or two sentences"),
    (r"doorkeeper|corridor", "guard, layers"),
)
_PATTERN = re.compile("|".join(rf"(?P<p{n}>\b(?:{phrase})\b)" for n, (phrase, _) in enumerate(PHRASES)), re.IGNORECASE)
_QUOTED = re.compile(r"`[^`\n]*`|https?://\S+")


class Hit(NamedTuple):
    """A phrase that was found; `line` counts from 1."""

    path: str
    line: int
    phrase: str
    instead: str


def hits(path: str, text: str) -> Iterator[Hit]:
    """Yield the avoided phrases of a text."""
    for number, line in enumerate(text.splitlines(), 1):
        for found in _PATTERN.finditer(_QUOTED.sub("", line)):
            yield Hit(path, number, found.group().lower(), PHRASES[int((found.lastgroup or "p0")[1:])][1])


def allowed(text: str) -> dict[tuple[str, str], str]:
    """Return the reason of each exception by path and phrase.

    Raises:
        ValueError: a line has another form, no reason, or is one of more than `MOST_ALLOWED`.
    """
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    found = [re.fullmatch(r"([^:]+): (.+?) # (.+)", line) for line in lines]
    if None in found or len(found) > MOST_ALLOWED:
        raise ValueError(f"{ALLOWED.name}: at most {MOST_ALLOWED} lines of the form `path: phrase # reason`")
    return {(match[1], match[2]): match[3] for match in found if match}


def files(paths: Iterable[str]) -> Iterator[str]:
    """Yield the files at or below `paths` that are looked at, relative to the root."""
    for path in paths:
        for file in sorted(found for found in [ROOT / path, *(ROOT / path).rglob("*")] if found.is_file()):
            name = file.relative_to(ROOT).as_posix()
            if name.endswith(SUFFIXES) and not name.startswith(LEFT_OUT):
                yield name


def main(paths: list[str]) -> int:
    """Print what is found and return the exit code."""
    exceptions = allowed(ALLOWED.read_text(encoding="utf-8"))
    used: set[tuple[str, str]] = set()
    count = 0
    for name in files(paths or SEARCHED):
        for hit in hits(name, (ROOT / name).read_text(encoding="utf-8")):
            if (hit.path, hit.phrase) in exceptions:
                used.add((hit.path, hit.phrase))
                continue
            count += 1
            sys.stdout.write(f"{hit.path}:{hit.line}: {hit.phrase!r}; instead: {hit.instead}\n")
    unused = sorted(set(exceptions) - used) if not paths else []
    for path, phrase in unused:
        sys.stdout.write(f"{ALLOWED.name}: {path}: {phrase} is not needed any more\n")
    return int(bool(count or unused))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
