"""The page about the example pack quotes its files exactly, and its commands print the quoted output."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from compozy.settings.views import VIEWS

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"<!-- (file|excerpt): (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)
CONSOLE = re.compile(r"```console\n\$ (.*?)\n(.*?)```", re.DOTALL)
COMPOZY = str(Path(sys.executable).parent / "compozy")
QUOTED = BLOCK.findall(PAGE)


@pytest.mark.parametrize(("kind", "name", "text"), [pytest.param(*q, id=f"{q[1]}-{at}") for at, q in enumerate(QUOTED)])
def test_a_quoted_file_is_quoted_as_it_is(kind: str, name: str, text: str) -> None:
    """A block that names a file is all of it, an excerpt is a piece of it."""
    content = (ROOT / name).read_text(encoding="utf-8")
    assert text == content if kind == "file" else text in content


def test_every_file_of_the_pack_is_on_the_page() -> None:
    """The walk leaves out no rule file."""
    files = {
        str(path.relative_to(ROOT)) for path in (ROOT / "examples" / "rule-pack" / "pack").iterdir() if path.is_file()
    }
    assert files <= {name for _, name, _ in QUOTED}


@pytest.mark.parametrize("name", list(VIEWS))
def test_every_view_is_on_the_page(name: str) -> None:
    """The reference knows what a table may ask of a setting."""
    assert f"`{name}`" in PAGE


def shape(text: str) -> str:
    """Return an output with its numbers and directories made alike."""
    text = re.sub(r"\d+ tables, \d+ rows", "N tables, N rows", re.sub(r"\d+(\.\d+)? ms", "N ms", text))
    return re.sub(r"(/[\w.-]+)+/\.compozy", "DIR/.compozy", text)


@pytest.mark.e2e
@pytest.mark.parametrize(("command", "output"), [pytest.param(*found, id=found[0]) for found in CONSOLE.findall(PAGE)])
def test_command_on_the_page_prints_the_quoted_output(command: str, output: str, tmp_path: Path) -> None:
    """In a copy of the example."""
    project = tmp_path / "project"
    shutil.copytree(ROOT / "examples" / "rule-pack", project)
    words = [COMPOZY, *shlex.split(command)[1:]]
    result = subprocess.run(words, cwd=project, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, shape(result.stdout)) == (0, shape(output)), result.stderr
