"""What somebody writes becomes a value of the setting's type, once and the same everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.settings.project import findings, nested, resolved

from compozy.rulebook import load_rulebook
from compozy.settings.values import duration_text, parse_duration, parse_size, size_text
from compozy.show import resolved_json
from compozy.validate import validate


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
    """What `config show` prints can be pasted back."""
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
    """What is printed can be pasted back."""
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
def test_what_is_no_whole_number_is_refused(tmp_path: Path, written: str) -> None:
    """The finding names key and place."""
    found = findings(tmp_path, nested("server.port", written))
    assert [(one.id, one.key, one.where.place.line) for one in found if one.where.place] == [
        ("key.type", "server.port", 2)
    ]


@pytest.mark.parametrize("written", ["0x" + "f" * 6000, "9" * 6000, "1e999", "0o" + "7" * 6000])
def test_a_number_that_is_too_long_is_text(tmp_path: Path, written: str) -> None:
    """It is refused where a number must be, and shown as it was written elsewhere."""
    found = resolved(tmp_path, f"server: {{port: {written}}}\nmodels: [{{x: {written}}}]\n")
    assert [(one.id, one.key) for one in validate(found)] == [("key.type", "server.port")]
    assert resolved_json(found, "resolved", ())["settings"]["models"]["value"] == [{"x": written}]


def test_a_whole_number_may_have_a_point_as_in_json(tmp_path: Path) -> None:
    """JSON does not know the difference between 8081 and 8081.0."""
    assert resolved(tmp_path, nested("server.port", "8081.0")).get("server.port") == 8081


def test_relative_paths_are_seen_from_the_file(tmp_path: Path) -> None:
    """Whatever directory the process is in."""
    found = resolved(tmp_path, nested("database.path", "./data/shop.db"))
    assert found.get("database.path") == str(tmp_path / "data/shop.db")


def test_null_is_not_set(tmp_path: Path) -> None:
    """A null leaves the default, in groups as in settings."""
    found = resolved(tmp_path, "server:\n  port: null\nredis: ~\nmodels:\n")
    assert (found.get("server.port"), found.values["server.port"].origin.kind, found.get("models")) == (
        8080, "default", [],
    )  # fmt: skip


@pytest.mark.parametrize("variable", ["DB_DRIVER", "COMPOZY_REDIS__TLS", "COMPOZY_DATABASE__CONNECT_TIMEOUT"])
def test_an_empty_variable_of_other_types_sets_nothing(variable: str, tmp_path: Path) -> None:
    """`DB_DRIVER=` in an environment file means that nobody chose a driver."""
    assert findings(tmp_path, environment={variable: ""}) == ()


def test_an_emptied_number_is_a_fault(tmp_path: Path) -> None:
    """An emptied port is noticed, not replaced."""
    found = findings(tmp_path, environment={"COMPOZY_DATABASE__PORT": ""})
    assert [(one.id, one.key, str(one.where)) for one in found] == [
        ("key.type", "database.port", "env COMPOZY_DATABASE__PORT")
    ]


def test_an_empty_variable_empties_a_text(tmp_path: Path) -> None:
    """An emptied host is noticed, not replaced."""
    assert resolved(tmp_path, environment={"COMPOZY_DATABASE__HOST": ""}).get("database.host") == ""


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
        pytest.param("redis.url", f"redis://h:{HUGE}", id="port-of-a-url"),
        pytest.param("redis.db", HUGE, id="number-of-a-database"),
    ],
)
def test_number_that_nothing_can_hold_is_a_finding(key: str, written: str, tmp_path: Path) -> None:
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
def test_variable_that_is_no_text_is_a_finding(name: str, text: str, tmp_path: Path) -> None:
    found = [item for item in findings(tmp_path, environment={name: text}) if item.severity == "error"]
    assert [(item.id, item.message.partition(": ")[2]) for item in found] == [
        ("key.type", "expected UTF-8 text without NUL characters")
    ]


def test_bytes_of_a_path_need_not_be_utf8(tmp_path: Path) -> None:
    assert resolved(tmp_path, environment={"DB_PATH": "a\udcffb.db"}).get("database.path").endswith("/a\udcffb.db")
