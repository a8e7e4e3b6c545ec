"""Files generated from the registry are up to date and valid."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from docs.__main__ import drifted, generated, main
from jsonschema import Draft202012Validator
from tests.support.project import FACTS, nested, resolved

from compozy.base.manual import DOCS_URL
from compozy.cli.main import run
from compozy.explain.show import resolved_json
from compozy.resolution.configuration import load_configuration
from compozy.resolution.resolve import resolve
from compozy.resolution.validate import validate
from compozy.rulebook import load_rulebook
from compozy.schema.conditions import constraints
from compozy.schema.schema import file_schema, shown_schema
from compozy.trial.rules import headings

ROOT = Path(__file__).parents[2]
RULEBOOK = load_rulebook()
SCHEMA = Draft202012Validator(file_schema(RULEBOOK, "compozy.json"))
SAMPLE = (ROOT / "docs/configuration/compozy.sample.yaml").read_text(encoding="utf-8")
VARIABLES = (ROOT / "docs/configuration/.env.example").read_text(encoding="utf-8")


def refused(document: object) -> list[str]:
    return [error.message for error in SCHEMA.iter_errors(document)]


def test_nothing_has_drifted() -> None:
    """`make generate` was run after the last change of a rule."""
    assert drifted(ROOT, generated(RULEBOOK)) == []


def test_openapi_document_has_not_drifted(tmp_path: Path) -> None:
    """`make openapi` was run after the last change of a route."""
    file = tmp_path / "openapi.json"
    subprocess.run([sys.executable, ROOT / "tools" / "openapi.py", file], check=True)
    assert file.read_text() == (ROOT / "schemas" / "openapi.json").read_text()


def test_pictures_have_not_drifted(tmp_path: Path) -> None:
    """`make generate` was run after the last change of what the pictures show."""
    subprocess.run([sys.executable, ROOT / "tools" / "pictures.py", tmp_path], check=True, cwd=ROOT)
    drawn = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert drawn == {name: (ROOT / "docs" / "images" / name).read_text() for name in drawn} != {}


@pytest.mark.parametrize("file", sorted((ROOT / "schemas").iterdir()), ids=lambda file: file.name)
def test_schema_names_itself_by_url(file: Path) -> None:
    assert json.loads(file.read_text())["$id"] == f"{DOCS_URL}/schemas/{file.name}"


def test_usual_value_agrees_with_the_tables(tmp_path: Path) -> None:
    """Help and schema show a default for a setting that a rule table decides; it is that of an empty configuration."""
    found = resolved(tmp_path, "")
    usual = {path: setting.usual for path, setting in RULEBOOK.registry.settings.items() if setting.usual}
    assert usual == {path: found.get(path) for path in usual} != {}


def test_schema_describes_each_mode() -> None:
    mode = file_schema(RULEBOOK, "config.json")["properties"]["mode"]
    assert mode["default"] == "memory"
    lines = mode["description"].splitlines()[1:]
    assert [line.partition(":")[0] for line in lines] == ["memory", "persistent", "distributed"]


def test_generator_writes_missing_files_and_checks_without_writing(tmp_path: Path) -> None:
    """Exit code 1 when something would change."""
    assert main(["--check", str(tmp_path)]) == 1
    assert list(tmp_path.iterdir()) == []
    assert main([str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0


@pytest.mark.parametrize("schema", [file_schema(RULEBOOK, "compozy.json"), shown_schema(RULEBOOK, "config-show.json")])
def test_a_schema_is_a_schema(schema: dict[str, Any]) -> None:
    """Of the draft that it names."""
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("path", RULEBOOK.registry.spelled)
def test_the_schema_knows_every_spelling_and_describes_it(path: str) -> None:
    """With a description, and the default where there is one."""
    here: dict[str, Any] = file_schema(RULEBOOK, "compozy.json")
    for key in path.split("."):
        here = here["properties"][key]
    assert here["description"]
    setting = RULEBOOK.registry.settings[RULEBOOK.registry.spelled[path]]
    if path == setting.path and setting.default is not None:
        assert here["default"] == setting.default


@pytest.mark.parametrize(
    ("document", "valid"),
    [
        pytest.param({"x-mine": [1], "server": {"x-note": {}}}, True, id="x-keys"),
        pytest.param({"modus": "memory"}, False, id="unknown-key"),
        pytest.param({"mode": None, "redis": None}, True, id="null"),
        pytest.param({"mode": " Memory"}, True, id="folded"),
        pytest.param({"mode": "standalone"}, False, id="standalone"),
        pytest.param({"mode": "${MODE}", "server": {"port": "${PORT:-1}"}}, True, id="variables"),
        pytest.param({"server": {"port": "$${PORT}"}}, False, id="no-variable"),
        pytest.param({"server": {"port": "$$${PORT}"}}, True, id="dollar-before-a-variable"),
        pytest.param({"database": {"connect_timeout": "5m"}}, True, id="duration"),
        pytest.param({"database": {"connect_timeout": 5}}, False, id="number-for-a-duration"),
        pytest.param({"mode": "distributed", "database": {"host": ""}}, False, id="no-host"),
        pytest.param(
            {"mode": "distributed", "database": {"host": "", "url": "postgres://x"}}, True, id="url-for-a-host"
        ),
        pytest.param({"mode": "memory", "database": {"host": ""}}, True, id="no-host-in-memory"),
        pytest.param({"vector_dbs": [{"provider": "PGVector"}]}, False, id="pgvector-by-default"),
        pytest.param({"mode": "distributed", "vector_dbs": [{"provider": "pgvector"}]}, True, id="pgvector"),
        pytest.param(
            {"mode": "distributed", "database": {"driver": "sqlite"}, "vector_dbs": [{"provider": "pgvector"}]},
            False,
            id="pgvector-on-sqlite-in-distributed",
        ),
        pytest.param({"mode": "${M}", "vector_dbs": [{"provider": "pgvector"}]}, True, id="mode-unknown-yet"),
        pytest.param({"redis": {"mode": "persistent", "embedded": {"engine": "fakeredis"}}}, False, id="cannot-keep"),
        pytest.param({"server": {"port": 65536}}, False, id="port"),
    ],
)
def test_the_schema_depends_on_the_mode(document: object, valid: bool) -> None:
    """As far as one file determines it."""
    assert (not refused(document)) == valid


def test_schema_names_the_finding_of_each_constraint() -> None:
    """A comment names the row; rows that depend on the machine or the disk have no constraint."""
    covered = constraints(RULEBOOK).rows
    comments = re.findall(r'"\$comment": "([\w.-]+):', json.dumps(file_schema(RULEBOOK, "compozy.json")))
    assert "knowledge.pgvector-on-sqlite" in comments
    assert set(comments) <= covered
    assert covered.isdisjoint({"redis.engine.missing", "database.path.directory", "port.equal.server-ui"})


@pytest.mark.parametrize("mode", ["memory", "persistent", "distributed", "foo"])
def test_schema_of_show_accepts_its_output(mode: str, tmp_path: Path) -> None:
    """In every mode, with values of every type and with findings."""
    text = nested("knowledge.vector_dbs", "[{id: a, provider: qdrant}]") + nested("redis.password", "secret")
    found = resolved(tmp_path, text, flags={"mode": mode}, environment={"COMPOZY_X": "1"})
    shown = {"format_version": 1, **resolved_json(found, "resolved", validate(found))}
    schema = Draft202012Validator(shown_schema(RULEBOOK, "config-show.json"))
    errors = [error.message for error in schema.iter_errors(shown)]
    if mode == "foo":
        # An invalid mode is shown as it was written.
        errors = [message for message in errors if not message.startswith("'foo' is not")]
    assert errors == []


def uncommented(text: str, pattern: str) -> str:
    return re.sub(pattern, r"\1", text, flags=re.MULTILINE)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(SAMPLE, id="as-it-is"),
        pytest.param(uncommented(SAMPLE, r"^( *)# (?=[a-z_]+:( |$))"), id="every-setting"),
    ],
)
def test_the_sample_is_valid(text: str, tmp_path: Path) -> None:
    """As it is, and with every setting of it, for us and for the schema."""
    found = resolved(tmp_path, text)
    assert [one.message for one in validate(found) if one.severity == "error"] == []
    assert refused(yaml.safe_load(text)) == []


def test_the_sample_holds_every_setting() -> None:
    """Including those that are not set."""
    document = yaml.safe_load(uncommented(SAMPLE, r"^( *)# (?=[a-z_]+:( |$))"))
    settings = [setting for setting in RULEBOOK.registry.settings.values() if not setting.splits]
    missing = [setting.path for setting in settings if not holds(document, setting.path)]
    assert missing == []


def holds(document: Any, path: str) -> bool:
    for key in path.split("."):
        if not isinstance(document, dict) or key not in document:
            return False
        document = document[key]
    return True


def test_the_sample_of_variables_is_valid(tmp_path: Path) -> None:
    """With every variable of it."""
    (tmp_path / ".env").write_text(uncommented(VARIABLES, r"^()# (?=[A-Z_]+=)"), encoding="utf-8")
    configuration = load_configuration(directory=str(tmp_path), environment={})
    found = validate(resolve(configuration, FACTS))
    assert [one.message for one in found if one.severity == "error" or one.id.startswith("variable")] == []
    named = set(re.findall(r"^# ([A-Z_]+)=", VARIABLES, flags=re.MULTILINE))
    assert named == {setting.env for setting in RULEBOOK.registry.settings.values() if not setting.splits}


@pytest.mark.parametrize("page", ["settings", "findings"])
def test_a_page_names_everything(page: str) -> None:
    """Every setting with its variable, every finding with both examples."""
    text = (ROOT / f"docs/configuration/{page}.md").read_text(encoding="utf-8")
    if page == "settings":
        wanted = [f"`{setting.env}`" for setting in RULEBOOK.registry.settings.values()]
    else:
        rows = [row for table in RULEBOOK.ruleset.tables.values() for row in table.rows if row.body]
        wanted = [f"\n## {row.id}\n" for row in rows]
    assert [found for found in wanted if text.count(found) != 1] == []


def test_every_finding_points_to_an_existing_heading() -> None:
    """The page that a finding names has what it promises."""
    broken = []
    for table in RULEBOOK.ruleset.tables.values():
        for row in (row for row in table.rows if row.body):
            page, _, heading = str(row.body["docs"]).partition("#")
            text = (ROOT / "docs" / page).read_text(encoding="utf-8")
            broken += [row.id] if heading and heading not in headings(text) else []
    assert broken == []


@pytest.mark.parametrize("which", ["config", "config-show"])
def test_the_command_prints_the_checked_in_schema(
    which: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without rule packs they are the same."""
    assert run(["config", "schema", "--which", which, "--cwd", str(tmp_path)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((ROOT / f"schemas/{which}.json").read_text(encoding="utf-8"))


def test_schema_contains_settings_of_packs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Settings of rule packs are settings."""
    row = "settings: [{path: mailer.from, type: text, help: 'Who writes.'}]\n"
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "settings.yaml").write_text(row, encoding="utf-8")
    assert run(["config", "schema", "--cwd", str(tmp_path), "--rules", str(tmp_path / "pack")]) == 0
    properties = json.loads(capsys.readouterr().out)["properties"]
    assert properties["mailer"]["properties"]["from"]["description"] == "Who writes."
