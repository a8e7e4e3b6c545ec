"""`compozy migrate config`: old files become valid ones, and nothing else in them changes."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.project import findings

from compozy.cli.main import run
from compozy.resolution.rewrite import Rewrite, rewrite
from compozy.resolution.validate import errors
from compozy.rulebook import load_rulebook
from compozy.rulebook.migrations import Migration

ROWS = load_rulebook().migrations
NAME = "compozy.yaml"
Migrate = Callable[..., dict[str, Any]]


def rewritten(text: str, to: str | None = None, *, unsafe: bool = False) -> Rewrite:
    return rewrite(load_rulebook(), text, NAME, to=to, unsafe=unsafe)


@pytest.mark.parametrize("row", [pytest.param(row, id=row.id) for row in ROWS])
def test_example_of_each_migration_is_rewritten_by_it_alone_and_is_valid(row: Migration, tmp_path: Path) -> None:
    example = row.example
    found = rewritten(example.before, example.to, unsafe=example.unsafe)
    assert (found.text, [change.row.id for change in found.changes]) == (example.after, [row.id])
    assert errors(findings(tmp_path, found.text)) == ()


FILES = [
    pytest.param('mode: "standalone"\n', None, 'mode: "memory"\n', id="double-quotes"),
    pytest.param("'mode': ' Standalone'  # old\n", None, "'mode': ' memory'  # old\n", id="single-quotes-and-case"),
    pytest.param("mode: &standalone standalone\n", None, "mode: &standalone memory\n", id="anchor"),
    pytest.param("mode: ${MODE:-standalone}\n", "persistent", "mode: ${MODE:-persistent}\n", id="variable"),
    pytest.param(
        "worker: # w\n  max_concurrent_workflow_execution_size: 5\n", None,
        "worker: # w\n  max_concurrent_workflows: 5\n", id="worker",
    ),
    pytest.param("{mode: standalone, name: a}\n", None, "{mode: memory, name: a}\n", id="flow-style"),
    pytest.param("mode: |-\n  standalone\nname: a", None, "mode: |-\n  memory\nname: a", id="block-scalar-and-no-end"),
    pytest.param("# standalone\nname: standalone\n", None, "# standalone\nname: standalone\n", id="other-places"),
    pytest.param(
        "mode: standalone\ntemporal: {mode: standalone}\nredis:\n  mode: standalone\n", None,
        "mode: memory\ntemporal: {mode: memory}\nredis:\n  mode: memory\n", id="all-modes",
    ),
    pytest.param(
        "mode: standalone\ntemporal: {mode: remote, encryption_key_file: k}\n", None,
        "mode: memory\ntemporal: {mode: remote, encryption_key_file: k}\n", id="remote-is-not-kept-by-the-mode",
    ),
    pytest.param(
        "mode: standalone\nredis: {mode: persistent}\n", None, "mode: memory\nredis: {mode: persistent}\n",
        id="own-mode-keeps",
    ),
    pytest.param(
        "mode: standalone\ntemporal: {mode: memory, standalone: {database_file: ./t.db}}\n", None,
        "mode: memory\ntemporal: {mode: memory, standalone: {database_file: ./t.db}}\n", id="own-mode-and-a-file",
    ),
    pytest.param(
        "redis: {embedded: {persistence: {data_dir: ./r}}, mode: standalone}\n", None,
        "redis: {standalone: {persistence: {data_dir: ./r}}, mode: memory}\n", id="directory-without-switch",
    ),
    pytest.param(
        "vector_dbs: # ours\n- id: a\n  # q\n  provider: qdrant\n\n# end\nknowledge_bases:\n  - {id: b}\nname: c", None,
        "knowledge:\n  vector_dbs: # ours\n  - id: a\n    # q\n    provider: qdrant\n"
        "  bases:\n    - {id: b}\n\n# end\nname: c",
        id="two-keys-into-a-new-group",
    ),
    pytest.param(
        "vector_dbs: []\nname: a\nknowledge:\n    bases: [] # none\n", None,
        "name: a\nknowledge:\n    bases: [] # none\n    vector_dbs: []\n", id="into-a-group-below",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("old", "to", "new"), FILES)
def test_old_file_is_rewritten_and_everything_else_stays(old: str, to: str | None, new: str, tmp_path: Path) -> None:
    found = rewritten(old, to)
    assert found.text == new
    assert [change.obstacle for change in found.changes if change.obstacle] == []
    assert errors(findings(tmp_path, found.text)) == ()


@pytest.mark.parametrize(
    ("old", "obstacle"),
    [
        pytest.param("x-m: &m standalone\nmode: *m\n", "its value is an alias (*name)", id="alias"),
        pytest.param('mode: "stand\\x61lone"\n', "it is written with escapes", id="escapes"),
        pytest.param(
            "redis: {embedded: {engine: auto}, standalone: {}}\n", "redis.standalone exists already", id="both"
        ),
        pytest.param("{vector_dbs: []}\n", "the document is in flow style, or indented", id="flow"),
        pytest.param(
            "vector_dbs: []\nknowledge: {bases: []}\n", "knowledge is not in block style, or empty", id="group"
        ),
        pytest.param("x-a: &a 1\nvector_dbs: []\nx-b: *a\n", "it has aliases (*name)", id="aliases"),
    ],
)
def test_impossible_change_is_listed_with_its_reason(old: str, obstacle: str) -> None:
    found = rewritten(old)
    assert (found.text, [change.obstacle for change in found.changes]) == (old, [obstacle])


KEEPING = [
    pytest.param("mode: standalone\ndatabase: {path: ./a.db}\n", id="database"),
    pytest.param("mode: standalone\ndatabase: {path: '${SHOP_FILE}'}\n", id="path-in-a-variable"),
    pytest.param("temporal: {mode: standalone, embedded: {database_file: ./t.db}}\n", id="temporal"),
    pytest.param("mode: standalone\nredis: {standalone: {persistence: {enabled: true}}}\n", id="redis"),
]


@pytest.mark.parametrize("old", KEEPING)
@pytest.mark.parametrize(
    ("to", "mode", "safe"),
    [(None, "persistent", False), ("memory", "memory", False), ("persistent", "persistent", True)],
)
def test_change_of_a_mode_with_data_needs_consent(old: str, to: str | None, mode: str, safe: bool) -> None:
    def modes(text: str) -> str:
        document = yaml.safe_load(text)
        return str(document.get("mode") or document["temporal"]["mode"])

    assert modes(rewritten(old, to).text) == (mode if safe else "standalone")
    assert modes(rewritten(old, to, unsafe=True).text) == mode


@pytest.fixture
def migrate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Migrate:
    """Return a function that runs the command on a file of this content and returns its JSON."""
    monkeypatch.chdir(tmp_path)

    def command(content: bytes, *args: str, code: int = 0) -> dict[str, Any]:
        Path(NAME).write_bytes(content)
        assert run(["migrate", "config", NAME, "--format", "json", *args]) == code
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return command


def test_without_write_the_file_stays(migrate: Migrate) -> None:
    found = migrate(b"mode: standalone\n")
    assert found["diff"][2:] == ["@@ -1 +1 @@", "-mode: standalone", "+mode: memory"]
    assert [(one["id"], one["where"]["line"], one["applied"]) for one in found["changes"]] == [
        ("standalone.forgets", 1, True)
    ]
    assert (found["written"], Path(NAME).read_bytes(), [*Path().iterdir()]) == (
        False,
        b"mode: standalone\n",
        [Path(NAME)],
    )


def test_write_keeps_mode_line_breaks_and_byte_order_mark_and_a_backup_of_each_run(migrate: Migrate) -> None:
    old = b"\xef\xbb\xbfmode: standalone\r\nname: \xc3\xbc # x\r\n"
    Path(NAME).touch()
    Path(NAME).chmod(0o640)
    assert [migrate(old, "--write")["backup"] for _ in range(2)] == [f"{NAME}.bak", f"{NAME}.bak1"]
    assert Path(NAME).read_bytes() == old.replace(b"standalone", b"memory")
    assert stat.S_IMODE(Path(NAME).stat().st_mode) == 0o640
    assert Path(f"{NAME}.bak").read_bytes() == old
    present = Path(NAME).read_bytes()
    assert migrate(present, "--write") == {
        "format_version": 1, "file": NAME, "changes": [], "diff": [], "written": False, "backup": None
    }  # fmt: skip


def test_write_through_a_link_changes_its_target(migrate: Migrate, capsys: pytest.CaptureFixture[str]) -> None:
    migrate(b"mode: standalone\n")
    Path("link.yaml").symlink_to(NAME)
    assert run(["migrate", "config", "link.yaml", "--write"]) == 0
    assert (Path("link.yaml").is_symlink(), Path(NAME).read_text(encoding="utf-8")) == (True, "mode: memory\n")


def test_unsafe_change_is_not_written_without_consent(migrate: Migrate, capsys: pytest.CaptureFixture[str]) -> None:
    old = b"mode: standalone\ndatabase: {path: ./a.db}\nvector_dbs: []\n"
    found = migrate(old, "--write", code=2)
    assert {one["id"]: one["applied"] for one in found["changes"]} == {
        "standalone.keeps": False, "name.vector-dbs": True
    }  # fmt: skip
    assert Path(NAME).read_bytes() == old.replace(b"vector_dbs", b"knowledge:\n  vector_dbs")
    assert run(["migrate", "config", NAME, "--write"]) == 2
    shown = capsys.readouterr()
    assert "all other data is kept in .compozy/ as well" in shown.err
    assert "--unsafe" in shown.err
    migrate(old, "--write", "--unsafe")
    assert Path(NAME).read_bytes().startswith(b"mode: persistent\n")


def test_diff_holds_no_secret(migrate: Migrate, capsys: pytest.CaptureFixture[str]) -> None:
    migrate(b"mode: standalone\ndatabase:\n  conn_string: 'postgres://u:canary-1@h/d'\n  password: canary-2\n")
    assert run(["migrate", "config", NAME]) == 0
    shown = capsys.readouterr()
    assert "canary" not in shown.out + shown.err
    assert "[REDACTED]" in shown.out


@pytest.mark.parametrize(
    ("content", "text"),
    [
        pytest.param(b"mode: [standalone\n", f"{NAME}:2:1: not valid YAML", id="syntax"),
        pytest.param(b"mode: a\nmode: b\n", f'{NAME}:2:1: key "mode" is written twice', id="twice"),
        pytest.param(b"mode: \xff\n", f"{NAME} cannot be read: it is not UTF-8 text (byte 6)", id="no-text"),
        pytest.param(b"a: 1\r\nmode: standalone\n", f"{NAME} mixes line breaks", id="line-breaks"),
    ],
)
def test_unsupported_file_is_refused_with_its_place(content: bytes, text: str, migrate: Migrate) -> None:
    found = migrate(content, "--write", code=2)
    assert found["error"]["message"].startswith(text)
    assert Path(NAME).read_bytes() == content


def test_missing_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["migrate", "config", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml cannot be read: No such file or directory" in capsys.readouterr().err


def test_finding_about_standalone_names_the_command(tmp_path: Path) -> None:
    found = findings(tmp_path, "mode: standalone\ntemporal: {mode: standalone}\nredis: {mode: standalone}\n")
    assert ["compozy migrate config" in one.hint for one in found] == [True] * 3


def test_rule_pack_adds_a_migration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "renames.yaml").write_text(
        "migrations:\n  - {id: cache, keys: [cache], becomes: redis, safe: true, because: renamed,\n"
        '     example: {before: "cache: {db: 1}\\n", after: "redis: {db: 1}\\n"}}\n',
        encoding="utf-8",
    )
    (tmp_path / NAME).write_text("rules: [./pack]\ncache: {db: 2}\n", encoding="utf-8")
    assert run(["migrate", "config", str(tmp_path / NAME), "--write"]) == 0
    assert (tmp_path / NAME).read_text(encoding="utf-8") == "rules: [./pack]\nredis: {db: 2}\n"
