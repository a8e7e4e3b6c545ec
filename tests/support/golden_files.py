"""Compare what users see with files; `make golden` (variable `UPDATE_GOLDEN=1`) writes them again."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "golden"
UPDATE = "UPDATE_GOLDEN"
_GAP = re.compile(r"(?<=\S) {2,}")


def check_golden(name: str, text: str, words: Mapping[str, str]) -> None:
    """Fail if a text differs from the file of its name; `words` replace what differs between machines and runs.

    `words` maps regular expressions to what the file has in their place. The gaps between columns are two blanks in the
    file, because their width depends on what is replaced.
    """
    for pattern, word in words.items():
        text = re.sub(pattern, word, text)
    text = _GAP.sub("  ", text)
    file = FOLDER / f"{name}.txt"
    if os.environ.get(UPDATE) == "1":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert file.is_file(), f"{file} does not exist: run make golden"
    assert text == file.read_text(encoding="utf-8"), f"{file} differs: run make golden, and look at the difference"
