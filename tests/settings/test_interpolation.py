"""Variables in the texts of a configuration file."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.project import findings, nested, resolved

from compozy.settings.interpolate import UnsetVariable, expand


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        pytest.param("${A}", "a", id="plain"),
        pytest.param("x${A}y${A}", "xaya", id="within"),
        pytest.param("${NO:-d}", "d", id="default"),
        pytest.param("${NO:-}", "", id="empty-default"),
        pytest.param("${EMPTY:-d}", "d", id="empty-counts-as-unset"),
        pytest.param("${EMPTY}", "", id="empty"),
        pytest.param("${A:?needed}", "a", id="needed"),
        pytest.param("$$A $${A} $$", "$A ${A} $", id="dollars"),
        pytest.param("$A $ 5$", "$A $ 5$", id="other-dollars"),
        pytest.param("${NO:-${A}}", "a", id="variable-as-default"),
        pytest.param("${NO:-${NEITHER:-${A}-${NO:-d}}}!", "a-d!", id="defaults-within-each-other"),
        pytest.param("${A:-${NO}}", "a", id="default-that-is-not-needed"),
        pytest.param("${NO:-$${A} costs 5$$}", "${A} costs 5$", id="dollars-in-a-default"),
        pytest.param("${NO:-{a: 1}", "{a: 1", id="brace-that-opens-nothing"),
    ],
)
def test_the_three_forms_and_the_dollar(text: str, expanded: str) -> None:
    """As in a POSIX shell, with braces."""
    assert expand(text, {"A": "a", "EMPTY": ""}.get).text == expanded


def test_values_are_not_expanded_again() -> None:
    """A password may hold `${`."""
    assert expand("${A}", {"A": "${B}"}.get).text == "${B}"


def test_the_variable_of_a_default_may_be_a_secret() -> None:
    """It is known which variables were looked up."""
    assert expand("${NO:-${MY_TOKEN}}", {"MY_TOKEN": "a"}.get).variables == ("NO", "MY_TOKEN")
    with pytest.raises(UnsetVariable, match="NEITHER"):
        expand("${NO:-${NEITHER}}", dict[str, str]().get)


def test_unset_variable_reports_the_message_of_its_author() -> None:
    """`:?` carries a message."""
    with pytest.raises(UnsetVariable) as caught:
        expand("${NO:?set it}", dict[str, str]().get)
    assert (caught.value.name, caught.value.message) == ("NO", "set it")


@pytest.mark.parametrize(
    "text", ["${", "${}", "${1A}", "${A B}", "${A:=x}", "${A:-${B}", "${A:-${}}", "${A:-" * 30 + "}" * 30]
)
def test_braces_without_a_variable_are_refused(tmp_path: Path, text: str) -> None:
    """A partly expanded text is never passed on."""
    assert [one.id for one in findings(tmp_path, f"name: '{text}'")] == ["key.type"]


def test_an_unset_variable_is_one_error_with_variable_and_key(tmp_path: Path) -> None:
    """It names both, and the place."""
    found = findings(tmp_path, "name: shop\nserver:\n  host: ${UNDEFINED:?ask your admin}\n")
    assert [(one.id, one.message, str(one.where.place)) for one in found] == [
        ("variable.unset", "server.host needs the variable UNDEFINED, which is not set", "compozy.yaml:3:9")
    ]
    assert "ask your admin" in found[0].hint


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("server.port", "8081", 8081),
        ("database.auto_migrate", "false", False),
        ("database.connect_timeout", "3s", 3.0),
        ("mode", " Persistent", "persistent"),
    ],
)
def test_an_expanded_text_is_read_like_a_variable(tmp_path: Path, path: str, text: str, value: object) -> None:
    """Numbers, booleans, durations and words too."""
    found = resolved(tmp_path, nested(path, "${GIVEN}"), environment={"GIVEN": text})
    assert found.get(path) == value
    assert found.values[path].origin.variables == ("GIVEN",)


def test_environment_takes_precedence_over_the_dotenv_file(tmp_path: Path) -> None:
    """The same order as for settings."""
    text, dotenv = "name: ${A}\ndescription: ${B}\n", "A=dotenv\nB=dotenv\n"
    found = resolved(tmp_path, text, dotenv=dotenv, environment={"A": "environment"})
    assert (found.get("name"), found.get("description")) == ("environment", "dotenv")


def test_texts_within_lists_and_maps_are_expanded(tmp_path: Path) -> None:
    """Wherever a text stands."""
    text = (
        "runtime: {env: {A: '${V}', list: ['x${V}', 5]}}\nknowledge: {vector_dbs: [{id: '${V}', provider: qdrant}]}\n"
    )
    found = resolved(tmp_path, text, environment={"V": "v"})
    assert found.get("runtime") == {"env": {"A": "v", "list": ["xv", 5]}}
    assert found.get("knowledge.vector_dbs")[0]["id"] == "v"


def test_variables_and_flags_are_taken_as_they_are(tmp_path: Path) -> None:
    """Only texts of the file are expanded."""
    found = resolved(tmp_path, environment={"COMPOZY_NAME": "${A}"}, flags={"tools": "['${A}']"})
    assert (found.get("name"), found.get("tools")) == ("${A}", ["${A}"])
