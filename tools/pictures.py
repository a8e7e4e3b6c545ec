"""Draw what commands print as pictures for README and documentation: `python tools/pictures.py [FOLDER]`.

The banner is the golden file of `compozy start`, the others are printed by the commands themselves.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from html import escape
from pathlib import Path

from compozy.cli.main import run

ROOT = Path(__file__).parents[1]
BANNER = ROOT / "tests" / "golden" / "memory" / "start.txt"
EXAMPLES = {
    "<time>": "0.45 s", "127.0.0.1:<port>/session": "127.0.0.1:8080/session", "http://127.0.0.1:<port>": "http://127.0.0.1:8080",
    "127.0.0.1:<port>": "127.0.0.1:7233", "<number>": "74122869", "<token>": "4sTJYl3l0eQ0...",
}  # fmt: skip
COMMANDS: Mapping[str, Sequence[str]] = {
    "explain": ("config", "explain", "redis.driver", "--mode", "persistent", "--cwd", "/"),
    "rule-table": ("rules", "show", "redis.mode"),
}
LINE, CHARACTER, MARGIN, SIZE = 18, 7.83, 14, 13
NO_BREAK = "\u00a0"  # browsers join ordinary blanks
_COLUMNS = re.compile(r"(?<=\S) {2,}")


def terminal_svg(command: str, text: str) -> str:
    """Return a picture of a terminal that shows a command and its output, readable on light and dark pages."""
    lines = [f"$ {command}", *text.rstrip("\n").split("\n")]
    width = round(max(map(len, lines)) * CHARACTER) + 2 * MARGIN
    height = len(lines) * LINE + 2 * MARGIN
    spans = "\n".join(
        f'<text x="{MARGIN}" y="{MARGIN + LINE * number - 5}" fill="{"#7ee787" if number == 1 else "#e6edf3"}">'
        f"{escape(line).replace(' ', NO_BREAK)}</text>"
        for number, line in enumerate(lines, 1)
        if line
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img" '
        f'aria-label="{escape(command)}">\n<rect width="100%" height="100%" rx="8" fill="#0d1117"/>\n'
        f'<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="{SIZE}">\n'
        f"{spans}\n</g>\n</svg>\n"
    )


def banner() -> str:
    """Return the banner of the golden file with example values, its table aligned again."""
    text = BANNER.read_text(encoding="utf-8")
    for placeholder, example in EXAMPLES.items():
        text = text.replace(placeholder, example)
    lines = text.split("\n")
    table = [number for number, line in enumerate(lines) if _COLUMNS.split(line.strip())[4:]]
    cells = [_COLUMNS.split(lines[number].strip()) for number in table]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for number, row in zip(table, cells, strict=True):
        lines[number] = "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    return re.sub(r"(?m)^  (HTTP|Access|Browser|Temporal)  ", lambda found: f"  {found[1]:8}  ", "\n".join(lines))


def printed(arguments: Sequence[str]) -> str:
    """Return what a command prints."""
    with redirect_stdout(io.StringIO()) as stream:
        run(list(arguments))
    return stream.getvalue()


def pictures() -> Mapping[str, str]:
    """Return the text of each picture by its file name."""
    shown = {name: terminal_svg("compozy " + " ".join(given), printed(given)) for name, given in COMMANDS.items()}
    drawn = {"banner": terminal_svg("compozy start", banner()), **shown}
    return {f"{name}.svg": text.replace(" --cwd /", "") for name, text in drawn.items()}


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images"
    for name, text in pictures().items():
        (folder / name).write_text(text, encoding="utf-8")
