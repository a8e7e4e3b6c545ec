"""Text from a source is converted to the type of its setting, once and equally for all sources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.project import findings, nested, resolved

from compozy.explain.show import resolved_json
from compozy.resolution.validate import errors, validate
from compozy.rulebook import load_rulebook
from compozy.settings.registry import Setting
from compozy.settings.values import duration_text, parse_duration, parse_size, size_text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("5m", 300.0), ("168h", 604800.0), ("1h30m", 5400.0), ("1.5s", 1.5), ("2d", 172800.0), ("0", 0.0)],
)
def test_a_duration_is_seconds(text: str, seconds: float) -> None:
    """Every unit, and several of them together."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["5", "m", "5 m", "-5s", "5x", "", "1e3s", "9" * 400 + "s", "\u0665s"])
def test_a_duration_without_a_unit_is_refused(text: str) -> None:
    """A bare number would be a guess."""
    with pytest.raises(ValueError, match="expected a duration such as"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["500ms", "5m", "7d", "1h30m", "1s250ms", "0s", "3us"])
def test_a_duration_is_shown_as_it_may_be_written(text: str) -> None:
    """The output of `config show` is valid input."""
    assert duration_text(parse_duration(text)) == text


@pytest.mark.parametrize(("text", "size"), [("512B", 512), ("64KiB", 65536), ("1.5MB", 1_500_000), ("2 gib", 2**31)])
def test_a_size_is_bytes(text: str, size: int) -> None:
    """KB is 1000 and KiB is 1024, in any case."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["512", "KiB", "iB", "1.5", "-1KB", "9" * 400 + "TB"])
def test_a_size_without_a_unit_is_refused(text: str) -> None:
    """A bare number would be a guess."""
    with pytest.raises(ValueError, match="expected a size such as"):
        parse_size(text)


@pytest.mark.parametrize("text", ["64KiB", "1500KB", "3TiB", "7B", "0B", "1000TB"])
def test_a_size_is_shown_as_it_may_be_written(text: str) -> None:
    """The output is valid input."""
    assert size_text(parse_size(text)) == text


@pytest.mark.parametrize("text", ["memory", "MEMORY", " Memory "])
def test_modes_are_trimmed_and_folded(tmp_path: Path, text: str) -> None:
    """Case and blanks do not count in words."""
    assert resolved(tmp_path, f"mode: '{text}'").get("mode") == "memory"


def test_distributed_temporal_means_remote(tmp_path: Path) -> None:
    """The word of the other components is understood."""
    assert resolved(tmp_path, nested("temporal.mode", "distributed")).get("temporal.mode") == "remote"


@pytest.mark.parametrize(
    ("written", "value"), [("1.10", "1.10"), ("0x10", "0x10"), ("on", "on"), ("true", "true"), ("'5'", "5")]
)
def test_a_text_keeps_its_spelling(tmp_path: Path, written: str, value: str) -> None:
    """A version 1.10 is not 1.1."""
    assert resolved(tmp_path, f"version: {written}").get("version") == value


@pytest.mark.parametrize("written", ["eighty", "'8080'", "80.5", "true", "1e400", "[80]"])
def test_value_must_be_a_whole_number(tmp_path: Path, written: str) -> None:
    """The finding names key and place."""
    found = findings(tmp_path, nested("server.port", written))
    assert [(one.id, one.key, one.where.place.line) for one in found if one.where.place] == [
        ("key.type", "server.port", 2)
    ]


@pytest.mark.parametrize("written", ["0x" + "f" * 6000, "9" * 6000, "1e999", "0o" + "7" * 6000])
def test_overlong_number_is_text(tmp_path: Path, written: str) -> None:
    """It is refused where a number must be, and shown as it was written elsewhere."""
    found = resolved(tmp_path, f"server: {{port: {written}}}\nruntime: {{env: {{x: {written}}}}}\n")
    assert [(one.id, one.key) for one in errors(validate(found))] == [("key.type", "server.port")]
    shown: Any = resolved_json(found, "resolved", ())
    assert shown["settings"]["runtime"]["value"] == {"env": {"x": written}}


def test_a_whole_number_may_have_a_point_as_in_json(tmp_path: Path) -> None:
    """JSON does not know the difference between 8081 and 8081.0."""
    assert resolved(tmp_path, nested("server.port", "8081.0")).get("server.port") == 8081


def test_relative_paths_are_seen_from_the_file(tmp_path: Path) -> None:
    """Independent of the working directory of the process."""
    found = resolved(tmp_path, nested("database.path", "./data/shop.db"))
    assert found.get("database.path") == str(tmp_path / "data/shop.db")


def test_null_is_not_set(tmp_path: Path) -> None:
    """A null leaves the default, in groups as in settings."""
    found = resolved(tmp_path, "server:\n  port: null\nredis: ~\nmodels:\n")
    assert (found.get("server.port"), found.values["server.port"].origin.kind, found.get("models")) == (
        8080, "default", [],
    )  # fmt: skip


@pytest.mark.parametrize("source", ["environment", "dotenv"])
@pytest.mark.parametrize("setting", load_rulebook().registry.settings.values(), ids=lambda setting: setting.path)
def test_empty_variable_sets_nothing(setting: Setting, source: str, tmp_path: Path) -> None:
    """Of every type alike: an environment file with `NAME=` leaves the default."""
    given: Any = {setting.env: ""} if source == "environment" else f"{setting.env}=\n"
    assert findings(tmp_path, **{source: given}) == findings(tmp_path)


@pytest.mark.parametrize("text", ["", "  ", "${NOPE:-}"], ids=["empty", "blank", "variable"])
def test_empty_text_of_the_file_sets_nothing(text: str, tmp_path: Path) -> None:
    """Of every setting that has no use for an empty text, lists among them."""
    ignoring = [path for path, one in load_rulebook().registry.settings.items() if one.ignores_empty]
    assert {"mode", "redis.mode", "server.host", "workflows", "database.path", "server.port", "name"} <= {*ignoring}
    wanted = resolved(tmp_path).values
    for path in ignoring:
        found = resolved(tmp_path, nested(path, f'"{text}"'))
        assert (path, found.values[path], validate(found)) == (path, wanted[path], ())


def test_empty_text_of_a_flag_is_reported_above_another_value(tmp_path: Path) -> None:
    for path, text in (("mode", "persistent"), ("server.port", "81"), ("database.path", "x.db")):
        found = findings(tmp_path, nested(path, text), flags={path: ""})
        wanted = f"--set {path} is empty and sets nothing; {path} keeps its value from file compozy.yaml"
        assert [one.message.partition(":")[0] for one in found if one.id == "variable.empty"] == [wanted]
        assert resolved(tmp_path, nested(path, text), flags={path: ""}).values[path].origin.kind == "file"
        assert findings(tmp_path, flags={path: ""}) == ()


@pytest.mark.parametrize("source", ["environment", "dotenv"])
def test_empty_variable_above_a_value_of_the_file_is_a_finding(source: str, tmp_path: Path) -> None:
    given: Any = {"DB_DRIVER": ""} if source == "environment" else "DB_DRIVER=\n"
    found = findings(tmp_path, "database: {driver: sqlite}\n", **{source: given})
    assert [one.message for one in found if one.id == "variable.empty"] == [
        "the variable DB_DRIVER is empty and sets nothing; database.driver keeps its value from file compozy.yaml:1:20"
    ]
    assert resolved(tmp_path, "database: {driver: sqlite}\n", **{source: given}).get("database.driver") == "sqlite"


def test_emptied_number_of_a_flag_is_a_fault(tmp_path: Path) -> None:
    found = findings(tmp_path, flags={"database.port": ""})
    assert [(one.id, one.key) for one in found] == [("key.type", "database.port")]


def test_flag_empties_a_text(tmp_path: Path) -> None:
    assert resolved(tmp_path, flags={"database.host": ""}).get("database.host") == ""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param("~/x.db", "/home/ada/x.db", id="own"),
        pytest.param("~", "/home/ada", id="alone"),
        pytest.param("./~/x.db", "{folder}/~/x.db", id="file-of-that-name"),
    ],
)
def test_home_directory_is_expanded_in_paths(
    path: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    sources: tuple[dict[str, Any], ...] = (
        {"text": f"database: {{path: '{path}'}}"}, {"text": "", "environment": {"DB_PATH": path}},
    )  # fmt: skip
    for given in sources:
        found = resolved(tmp_path, **given).get("database.path")
        assert found == expected.format(folder=tmp_path)


def test_home_directory_of_an_unknown_user_is_a_finding(tmp_path: Path) -> None:
    found = [one for one in findings(tmp_path, "database: {path: ~unknown-user/x.db}") if one.severity == "error"]
    assert [(one.id, one.key) for one in found] == [("key.type", "database.path")]


@pytest.mark.parametrize("setting", ["redis.host", "database.host", "server.host"])
def test_brackets_of_an_address_are_removed(setting: str, tmp_path: Path) -> None:
    assert resolved(tmp_path, nested(setting, "'[::1]'")).get(setting) == "::1"


@pytest.mark.parametrize(
    ("written", "advice"),
    [
        pytest.param('server: {port: "8080"}', 'found "8080"; write it without quotes', id="number"),
        pytest.param('redis: {tls: "true"}', 'found "true"; write it without quotes', id="boolean"),
        pytest.param('server: {port: "eighty"}', 'found "eighty"', id="neither-way-right"),
        pytest.param("server: {port: eighty}", 'found "eighty"', id="without-quotes"),
    ],
)
def test_value_in_quotes_is_advised_to_lose_them(written: str, advice: str, tmp_path: Path) -> None:
    assert [one.hint for one in findings(tmp_path, written)] == [advice]


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        pytest.param("compozy_mode", "did you mean COMPOZY_MODE?", id="lower-case"),
        pytest.param("Db_Url", "did you mean DB_URL?", id="mixed-case"),
        pytest.param("COMPOZY_MOD", "did you mean COMPOZY_MODE?", id="misspelled"),
        pytest.param("COMPOZY_FOO", "", id="like-nothing"),
        pytest.param("COMPOZY_DB_URL", "did you mean DB_URL?", id="prefix-too-many"),
    ],
)
def test_unknown_variable_suggests_a_similar_one(name: str, advice: str, tmp_path: Path) -> None:
    for sources in ({"environment": {name: "x"}}, {"dotenv": f"{name}=x\n"}):
        (found,) = findings(tmp_path, **sources)
        assert found.id == "variable.unknown"
        assert found.hint.startswith(advice)
        assert advice or "did you mean" not in found.hint


def test_variable_in_both_cases_is_not_a_finding(tmp_path: Path) -> None:
    """Some programs set both, as with http_proxy."""
    assert findings(tmp_path, environment={"DB_DRIVER": "sqlite", "db_driver": "sqlite"}) == ()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("COMPOZY_NAME=${SHOP}", ["${SHOP}"], id="plain"),
        pytest.param('COMPOZY_NAME="a-${SHOP:-b}"', ["${SHOP}"], id="double-quotes"),
        pytest.param("COMPOZY_NAME='${SHOP}'", [], id="single-quotes"),
        pytest.param("OTHER=${SHOP}", [], id="no-setting"),
        pytest.param("COMPOZY_NAME=$5", [], id="no-reference"),
    ],
)
def test_reference_in_dotenv_is_a_finding(line: str, expected: list[str], tmp_path: Path) -> None:
    found = findings(tmp_path, dotenv=f"{line}\n")
    assert [one.message for one in found] == [
        f"COMPOZY_NAME holds {reference}, which is not expanded" for reference in expected
    ]


def test_reference_in_a_used_variable_is_a_finding(tmp_path: Path) -> None:
    """A variable of `.env` that names no setting reaches settings through the file."""
    dotenv = "SHOP=a\nFIRST=${SHOP}\nSECOND='${SHOP}'\nUNUSED=${SHOP}\n"
    found = findings(tmp_path, "name: ${FIRST}${FIRST}${SECOND}\n", dotenv=dotenv)
    assert [(one.message, str(one.where)) for one in found] == [
        ("FIRST holds ${SHOP}, which is not expanded", "dotenv FIRST .env:2:1")
    ]


@pytest.mark.parametrize(("path", "reference"), [("$HOME/x.db", "$HOME"), ("$$HOME/x.db", ""), ("${HOME}/x.db", "")])
def test_variable_without_braces_in_a_path_is_a_finding(path: str, reference: str, tmp_path: Path) -> None:
    found = findings(tmp_path, f"database: {{path: '{path}'}}", environment={"HOME": "/home/ada"})
    assert [one.message for one in found if one.id == "variable.not-expanded"] == (
        [f"database.path holds {reference}, which is not expanded"] if reference else []
    )


HUGE = "9" * 5000


@pytest.mark.parametrize(
    ("key", "written"),
    [
        pytest.param("server.port", HUGE, id="port"),
        pytest.param("server.port", "9" * 350, id="port-that-is-no-float"),
        pytest.param("database.max_connections", str(2**63), id="more-than-64-bits"),
        pytest.param("database.max_connections", "1e300", id="whole-float"),
        pytest.param("database.connect_timeout", f"{HUGE}s", id="duration"),
        pytest.param("database.connect_timeout", "876001h", id="more-than-a-hundred-years"),
        pytest.param("redis.url", f"redis://h:{HUGE[:400]}", id="port-of-a-url"),
        pytest.param("redis.db", HUGE, id="number-of-a-database"),
    ],
)
def test_number_beyond_every_type_is_a_finding(key: str, written: str, tmp_path: Path) -> None:
    """In the file and in a variable alike."""
    name = load_rulebook().registry.settings[key].env
    for sources in ({"text": nested(key, written)}, {"text": "", "environment": {name: written}}):
        found = [finding for finding in findings(tmp_path, **sources) if finding.severity == "error"]
        assert [(finding.id, finding.key) for finding in found] == [("key.type", key)]


@pytest.mark.parametrize("text", ['name: "a\\0b"', 'workflows: ["a\\0b"]', '"a\\0b": 1', 'x-mine: {a: ["\\0"]}'])
def test_nul_character_is_a_syntax_finding(text: str, tmp_path: Path) -> None:
    """Wherever it stands: a file system or a database would refuse it later."""
    assert [finding.id for finding in findings(tmp_path, text)] == ["file.syntax"]


@pytest.mark.parametrize("name", ["REDIS_URL", "COMPOZY_REDIS__PASSWORD", "COMPOZY_NAME"])
@pytest.mark.parametrize("text", ["redis://:a\0b@h", "redis://:a\udcffb@h"], ids=["nul", "not-utf-8"])
def test_variable_with_undecodable_text_is_a_finding(name: str, text: str, tmp_path: Path) -> None:
    found = [item for item in findings(tmp_path, environment={name: text}) if item.severity == "error"]
    assert [(item.id, item.message.partition(": ")[2]) for item in found] == [
        ("key.type", "expected UTF-8 text without NUL characters")
    ]


def test_bytes_of_a_path_need_not_be_utf8(tmp_path: Path) -> None:
    assert resolved(tmp_path, environment={"DB_PATH": "a\udcffb.db"}).get("database.path").endswith("/a\udcffb.db")
