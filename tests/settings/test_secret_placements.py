"""Each place where a secret can be written, one at a time: no output of the configuration shows it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.project import nested, resolved

from compozy.explain.compare import compare
from compozy.explain.diagnostics import diagnostics
from compozy.explain.show import resolved_json
from compozy.explain.value import explain
from compozy.provisioning.plan import make_plan
from compozy.resolution.resolve import Resolved
from compozy.resolution.validate import validate
from compozy.rulebook import load_rulebook
from compozy.settings.registry import Setting

CANARY = "cAnAry-7f3a9c51"
REGISTRY = load_rulebook().registry
STORES = REGISTRY.settings["knowledge.vector_dbs"]
FREE = ("models", "memories", "knowledge.bases", "runtime")
FREE_FORMS = {
    **{name: f"{{{name}: {CANARY}}}" for name in ("api_key", "dbPass", "pwd", "jwt", "client_secret")},
    "nested": f"{{a: {{b: [{{DB_PASSWORD: {CANARY}}}]}}}}",
    "url": f"{{endpoint: 'https://me:{CANARY}@h/x'}}",
    "parameter": f"{{endpoint: 'https://h/x?token={CANARY}'}}",
    "header": f"{{headers: ['Authorization: Bearer {CANARY}']}}",
    "cookie": f"{{Cookie: 'a={CANARY}'}}",
    "named": f"{{env: [{{name: X_API_KEY, value: {CANARY}}}]}}",
}


def is_secret(setting: Setting) -> bool:
    return setting.secret or setting.secret_parts


def text_of(setting: Setting) -> str:
    if setting.type == "map":
        return f"{{a: {CANARY}}}"
    if setting.secret:
        return CANARY
    scheme = setting.schemes[0] if setting.schemes else "redis"
    return f"{scheme}://me:{CANARY}@host:1/0?token={CANARY}"


def placements() -> Iterator[Any]:
    """Yield every spelling of every secret through every source, the fields of stores, and free-form values."""
    for spelled, path in REGISTRY.spelled.items():
        setting = REGISTRY.settings[path]
        if is_secret(setting):
            yield from of_setting(spelled, setting)
    for item in filter(is_secret, STORES.items.values()):
        for name in (item.path, *item.aliases):
            yield from of_list(STORES, f"[{{id: a, provider: qdrant, {flow(name, text_of(item))}}}]", name)
    for path in FREE:
        setting = REGISTRY.settings[path]
        whole = "{}" if setting.type == "map" else "[{}]"
        for name, text in FREE_FORMS.items():
            yield from of_list(setting, whole.format(text), name)
        if path == "runtime":
            for name, text in FREE_FORMS.items():
                yield from of_list(setting, f"{{env: {text}}}", f"env-{name}")
        yield pytest.param({"text": nested(path, whole.format("{token: '${MY_TOKEN}'}"))}, id=f"variable-{path}")


def of_setting(spelled: str, setting: Setting) -> Iterator[Any]:
    text = text_of(setting)
    written, variable = (f"'{text}'", "'${MY_TOKEN}'") if setting.type != "map" else (text, "{a: '${MY_TOKEN}'}")
    yield pytest.param({"text": nested(spelled, written)}, id=f"file-{spelled}")
    yield pytest.param({"text": nested(spelled, variable)}, id=f"variable-{spelled}")
    yield pytest.param({"flags": {spelled: text}}, id=f"flag-{spelled}")
    if spelled == setting.path:
        yield pytest.param({"environment": {setting.env: text}}, id=f"env-{spelled}")
        yield pytest.param({"dotenv": f"{setting.env}='{text}'\n"}, id=f"dotenv-{spelled}")


def of_list(setting: Setting, text: str, name: str) -> Iterator[Any]:
    yield pytest.param({"text": nested(setting.path, text)}, id=f"file-{setting.path}-{name}")
    yield pytest.param({"flags": {setting.path: text}}, id=f"flag-{setting.path}-{name}")
    yield pytest.param({"environment": {setting.env: text}}, id=f"env-{setting.path}-{name}")
    quoted = text.replace("'", '"')
    yield pytest.param({"dotenv": f"{setting.env}='{quoted}'\n"}, id=f"dotenv-{setting.path}-{name}")


def flow(name: str, text: str) -> str:
    group, _, key = name.rpartition(".")
    return f"{group}: {{{key}: '{text}'}}" if group else f"{key}: '{text}'"


def outputs(found: Resolved, other: Resolved) -> Iterator[Any]:
    findings = validate(found)
    yield resolved_json(found, "resolved", findings)
    yield diagnostics(found, findings)
    yield [one.as_json() for one in compare(other, found)]
    yield [(step.addresses, step.files) for step in make_plan(found).steps]
    written = [path for path, value in found.values.items() if value.origin.kind not in ("default", "rule")]
    yield [explain(found, path).as_json() for path in written]


PLACEMENTS = list(placements())


def test_at_least_as_many_placements_are_tried_as_in_the_review() -> None:
    assert len(PLACEMENTS) >= 261


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Resolved:
    """A configuration without secrets, to compare with."""
    return resolved(tmp_path_factory.mktemp("other"))


@pytest.mark.parametrize("inputs", PLACEMENTS)
def test_no_output_shows_a_secret_wherever_it_is_written(
    inputs: dict[str, Any], other: Resolved, tmp_path: Path
) -> None:
    environment = {"MY_TOKEN": CANARY, **inputs.get("environment", {})}
    found = resolved(tmp_path, **{**inputs, "environment": environment})
    read = CANARY in "".join(str(value.value) for value in found.values.values())
    assert read or {"key.unknown", "key.type"} & {one.id for one in validate(found)}
    shown = [*map(json.dumps, outputs(found, other)), repr(found), repr(found.configuration)]
    assert [text for text in shown if CANARY in text] == []
