"""The documentation is correct: links are valid, files are quoted exactly, examples run."""

from __future__ import annotations

import base64
import html
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from runpy import run_path
from typing import Any

import click
import pytest
import yaml
from tests.support.project import resolved

from compozy.base.manual import DOCS_URL
from compozy.cli.main import cli, run
from compozy.resolution.validate import validate
from compozy.rulebook import load_rulebook
from compozy.testing.testbed import Testbed
from compozy.testing.time_skipping import TimeSkipping
from compozy.trial.rules import headings
from compozy.workflows.read.loader import parse_definition

ROOT = Path(__file__).parents[2]
COMPOZY = str(Path(sys.executable).parent / "compozy")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
BLOCK = re.compile(r"(?:<!-- file: (?P<file>\S+) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```", re.DOTALL)
LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]+))?\)")
COMMAND = re.compile(r"^\$ (?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?(?P<command>compozy .*?)(?:  #.*| \d?[|>&].*)?$")
SITE = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), yaml.CSafeLoader)
QUICK_START = ROOT / "docs" / "quick-start.md"
SAVED = re.compile(r"^<!-- save: (\S+) -->\n```\w+\n(.*?)^```", re.DOTALL | re.MULTILINE)
READ_ONLY = ("config show", "config validate", "config explain", "rules check", "rules list", "plan")


def blocks(language: str) -> Iterator[tuple[Path, str, str | None]]:
    for page in PAGES:
        for found in BLOCK.finditer(page.read_text(encoding="utf-8")):
            if found["language"] == language:
                yield page, found["text"], found["file"]


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def commands() -> list[str]:
    """Return each distinct `compozy` command of the console blocks, without variables, redirections and comments."""
    lines = {line for _, text, _ in blocks("console") for line in text.splitlines() if line.startswith("$ ")}
    return sorted({found["command"].strip() for line in lines if (found := COMMAND.match(line))})


def links(page: Path) -> list[tuple[Path, str]]:
    """Return the file and the anchor of each relative link of a page; code is not searched."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [(page.parent / file if file else page, anchor) for file, anchor in LINK.findall(text)]


def broken(targets: Iterable[tuple[Path, str]]) -> list[str]:
    """Return the targets whose file, or whose heading in a page, does not exist."""
    return [
        f"{file}#{anchor}"
        for file, anchor in targets
        if not file.exists() or (anchor and anchor not in headings(file.read_text(encoding="utf-8")))
    ]


@pytest.mark.parametrize("page", [pytest.param(page, id=named(page)) for page in PAGES])
def test_links_lead_to_existing_files_and_headings(page: Path) -> None:
    assert broken(links(page)) == []


def test_links_lead_to_files_of_the_site() -> None:
    """`make docs` copies some files and directories only."""
    (copied,) = re.findall(r"^SITE_FILES := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    targets = {file.resolve().relative_to(ROOT) for page in PAGES for file, _ in links(page)}
    assert [str(file) for file in targets if file.parts[0] not in copied.split()] == []


def navigation(entry: object) -> Iterator[str]:
    """Yield the targets of the navigation of the site in their order."""
    if isinstance(entry, str):
        yield entry
    elif isinstance(entry, Mapping):
        for inner in entry.values():
            yield from navigation(inner)
    elif isinstance(entry, list):
        for inner in entry:
            yield from navigation(inner)


def test_site_is_published_at_the_address_of_message_links() -> None:
    assert SITE["site_url"] == DOCS_URL


def test_navigation_of_site_names_each_page_once() -> None:
    targets = [target.replace(".html#", ".md#").partition("#") for target in navigation(SITE["nav"])]
    assert broken((ROOT / file, anchor) for file, _, anchor in targets) == []
    files = [file for file, _, anchor in targets if not anchor]
    assert sorted(files) == sorted(set(files))
    assert sorted({named(page) for page in PAGES if page.is_relative_to(ROOT / "docs")} - set(files)) == []


def configurations() -> list[Any]:
    """Return each YAML block that is a configuration: all of its keys are settings, or groups of them."""
    registry = load_rulebook().registry
    words = {path.partition(".")[0] for path in registry.spelled}
    found = []
    for page, text, _ in blocks("yaml"):
        if page.name in ("findings.md", "migrations.md"):  # their examples are tested with the rules
            continue
        document, *more = yaml.load_all(text, yaml.CSafeLoader)
        if not more and isinstance(document, dict) and document.keys() <= words:
            found.append(pytest.param(text, id=f"{named(page)}:{next(iter(document))}"))
    return found


@pytest.mark.parametrize("text", configurations())
def test_configurations_are_valid(text: str, tmp_path: Path) -> None:
    """A configuration of a page has no error, with a value for each variable that it names."""
    secret = base64.b64encode(bytes(32)).decode()
    environment = dict.fromkeys(re.findall(r"\$\{(\w+)", text), "0123456789abcdef")
    environment |= {name: secret for name in environment if name.endswith("ENCRYPTION_KEY")}
    found = validate(resolved(tmp_path, text, environment=environment))
    assert [(one.id, one.message) for one in found if one.severity == "error"] == []


@pytest.mark.parametrize(
    ("page", "text"),
    [pytest.param(named(page), text, id=named(page)) for page, text, _ in blocks("yaml") if "\ntasks:" in text],
)
def test_workflows_are_valid(page: str, text: str) -> None:
    assert parse_definition(text, page).id


QUOTED = [("troubleshooting.md", r"^### `(.+)`$", 20), ("guides/moving-between-modes.md", r"^\| `(.{30,}?)` \|", 4)]


@pytest.mark.parametrize(("page", "pattern", "least"), [pytest.param(*one, id=one[0]) for one in QUOTED])
def test_quoted_messages_are_messages_of_the_product(page: str, pattern: str, least: int) -> None:
    """Each literal part of a message, between `...`, stands in the sources or in the rules."""
    found = re.findall(pattern, (ROOT / "docs" / page).read_text(encoding="utf-8"), re.MULTILINE)
    files = [*(ROOT / "engine").rglob("*.py"), *(ROOT / "rules").rglob("*.yaml")]
    sources = re.sub(r'"\n +f?"', "", "\n".join(file.read_text(encoding="utf-8") for file in files))
    parts = {part.strip(' "') for text in found for part in text.split("...")}
    assert sorted(part for part in parts if len(part) > 3 and part not in sources) == []
    assert len(found) >= least


def save_quick_start(folder: Path) -> None:
    """Write the files that the page asks its reader to write."""
    for name, text in SAVED.findall(QUICK_START.read_text(encoding="utf-8")):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def test_quick_start_test_passes(
    tmp_path: Path, compozy_testbed: Testbed, temporal_time_skipping: TimeSkipping
) -> None:
    """The test of the page, on the workflow and the tool of the page."""
    save_quick_start(tmp_path)
    (test,) = [value for name, value in run_path(str(tmp_path / "test_shout.py")).items() if name.startswith("test_")]
    place, settings = str(tmp_path), {"redis.standalone.engine": "fakeredis"}
    with compozy_testbed.workflows(temporal_time_skipping, "memory", place, settings, project=place) as workflows:
        test(workflows)


def test_quoted_files_are_quoted_as_they_are() -> None:
    """A block that names its file is that file."""
    quoted = [(file, text) for _, text, file in blocks("yaml") if file]
    assert quoted
    assert [file for file, text in quoted if (ROOT / file).read_text(encoding="utf-8") != text] == []


@pytest.mark.parametrize("text", [pytest.param(text, id=named(page)) for page, text, _ in blocks("python")])
def test_python_examples_run(text: str, tmp_path: Path) -> None:
    """Copied examples run, beside the workflow of the examples."""
    (tmp_path / "workflows").mkdir()
    shutil.copy(ROOT / "examples" / "hello-world.yaml", tmp_path / "workflows")
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", text],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("text", commands())
def test_commands_can_be_parsed(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command of a page exists and takes the arguments and options that the page gives it."""
    command: click.Command | None = cli
    words = shlex.split(text)[1:]
    monkeypatch.chdir(tmp_path)
    for word in words:
        if re.fullmatch(r"[\w-]+(\.[a-z]+)+", word):
            Path(word).touch()  # an argument that must be an existing file
    context = click.Context(cli, info_name="compozy")
    while isinstance(command, click.Group) and words[0] != "--help":
        _, command, words = command.resolve_command(context, words)
    assert command is not None
    if words[:1] != ["--help"]:
        command.make_context(command.name, words, parent=context).close()


def only_reads(text: str) -> bool:
    """Return True if a command changes nothing, starts nothing and needs no file of the reader."""
    return text.removeprefix("compozy ").startswith(READ_ONLY) and not re.search(r"/|\.dmn", text)


@pytest.mark.parametrize("text", [text for text in commands() if only_reads(text)])
def test_reading_commands_succeed(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They answer in a project without settings."""
    (tmp_path / "compozy.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert run(shlex.split(text)[1:]) == 0


def test_every_page_is_reachable_from_the_readme() -> None:
    """A page without a link to it is not found by readers."""
    reached, border = set[Path](), [ROOT / "README.md"]
    while border:
        page = border.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        border += [file.resolve() for file, _ in links(page)]
    assert [named(page) for page in PAGES if page.resolve() not in {found.resolve() for found in reached}] == []


def shown_after(command: str, page: Path = ROOT / "README.md") -> str:
    """Return what a page shows below a command."""
    text = page.read_text(encoding="utf-8")
    return re.split(r"^(?:\$ .*|```)$", text.partition(f"$ {command}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def drawn(picture: str) -> str:
    """Return the output that a picture of a terminal shows."""
    svg = (ROOT / "docs" / "images" / f"{picture}.svg").read_text(encoding="utf-8")
    _, *lines = re.findall(r">([^<>]*)</text>", svg)
    return html.unescape("\n".join(lines)).replace("\u00a0", " ")


def without_numbers(text: str) -> str:
    """Return a text in which times, ports, empty lines and the width of columns are alike."""
    text = re.sub(r"token=\S+", "token=0", text)
    return re.sub(r"\n+", "\n", re.sub(r" +", " ", re.sub(r"\d+(?:\.\d+)?", "0", text))).strip()


def test_verification_page_shows_the_findings_of_its_example(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    command = "rules check docs/internals/shipping.yaml"
    assert run(command.split()) == 3
    shown = shown_after(f"compozy {command}", ROOT / "docs" / "internals" / "verification.md")
    assert re.sub(r"[\d.]+ ms", "", capsys.readouterr().out) == re.sub(r"[\d.]+ ms", "", shown)


@pytest.mark.e2e
def test_readme_and_quick_start_show_real_output(tmp_path: Path) -> None:
    """The banner of `make start`, which calls `compozy start`, but for times and ports; and the first workflows."""
    save_quick_start(tmp_path)
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    start = subprocess.Popen([COMPOZY, "start"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert start.stdout is not None
        banner = "".join(takewhile(lambda line: not line.startswith("Run a workflow"), start.stdout))
        assert without_numbers(banner) == without_numbers(drawn("banner").partition("Run a workflow")[0])
        for words in ("run examples/hello-world.yaml", "run examples/hello-world.yaml --param name=Ada"):
            args = ["workflow", *words.replace("examples", str(ROOT / "examples")).split()]
            printed = subprocess.check_output([COMPOZY, *args], cwd=tmp_path, env=environment, text=True)
            assert printed == shown_after(f".venv/bin/compozy workflow {words}")
        for words in ("workflow run greet --param name=Ada", "workflow run shout --param text=hey"):
            printed = subprocess.check_output([COMPOZY, *words.split()], cwd=tmp_path, env=environment, text=True)
            assert printed == shown_after(f"compozy {words}", QUICK_START)
    finally:
        start.terminate()
        start.communicate(timeout=60)
