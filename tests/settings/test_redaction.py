"""A canary in every secret, through every source: it appears in no output."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.support.project import FACTS, configured, nested, resolved, write

from compozy.cli.logs import LineFormatter
from compozy.cli.main import run
from compozy.errors import CompozyError, ConfigurationError
from compozy.explain.compare import compare
from compozy.explain.diagnostics import diagnostics
from compozy.explain.show import resolved_json
from compozy.explain.value import explain
from compozy.provisioning.lifecycle import Lifecycle
from compozy.provisioning.plan import make_plan
from compozy.resolution.configuration import secrets_of
from compozy.resolution.resolve import Resolved
from compozy.resolution.validate import occasions, validate
from compozy.rulebook import load_rulebook
from compozy.settings.mask import masked_lines
from compozy.settings.redact import Redactor, redact_url, secret_parts
from compozy.settings.registry import Setting

CANARY = "cAnAry-7f3a9c51"
REGISTRY = load_rulebook().registry
SECRETS = [setting for setting in REGISTRY.settings.values() if setting.secret or setting.secret_parts]
FREE = {
    "models": f"[{{id: a, api_key: {CANARY}}}]",
    "runtime": f"{{env: {{SOME_TOKEN: {CANARY}, A: '${{MY_SECRET}}'}}}}",
}
STORES = (
    f"[{{id: a, provider: qdrant, api_key: {CANARY}, config: {{password: {CANARY}, url: 'http://u:{CANARY}@h/'}}}}]"
)
SOURCES = ("flag", "env", "dotenv", "file", "variable")
MODES = ("memory", "distributed")


def secret(setting: Setting) -> str:
    if setting.type == "map":
        return f"{{A: {CANARY}}}"
    if setting.secret:
        return CANARY
    return f"redis://me:{CANARY}@host:1/0?x=1&token={CANARY}&api_key={CANARY}"


def given_through(source: str, folder: Path) -> dict[str, Any]:
    """Return the inputs that put the canary into every secret through one source."""
    secrets = {setting.path: secret(setting) for setting in SECRETS}
    lists = {**FREE, "knowledge.vector_dbs": STORES}
    by_env = {REGISTRY.settings[path].env: text for path, text in (secrets | lists).items()}
    if source == "flag":
        return {"flags": secrets | lists}
    if source == "env":
        return {"environment": by_env}
    if source == "dotenv":
        return {"dotenv": "".join(f"{name}='{text.replace(chr(39), chr(34))}'\n" for name, text in by_env.items())}
    if source == "file":
        return {"text": as_file(secrets | lists), "environment": {"MY_SECRET": CANARY}}
    names = {path: f"X_{path.upper().replace('.', '_')}" for path in secrets}
    maps = {path for path in secrets if REGISTRY.settings[path].type == "map"}
    written = {path: f"{{A: '${{{name}}}'}}" if path in maps else f"${{{name}}}" for path, name in names.items()}
    values = {names[path]: CANARY if path in maps else text for path, text in secrets.items()}
    return {"text": as_file({**written, **lists}), "environment": {**values, "MY_SECRET": CANARY}}


def as_file(values: Mapping[str, str]) -> str:
    tree: dict[str, Any] = {}
    for path, text in values.items():
        *groups, key = path.split(".")
        here = tree
        for group in groups:
            here = here.setdefault(group, {})
        here[key] = text
    return "\n".join(lines_of(tree, ""))


def lines_of(tree: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield f"{indent}{key}:"
            yield from lines_of(value, indent + "  ")
        else:
            yield f"{indent}{key}: {value}"


def resolved_through(source: str, mode: str, folder: Path) -> Resolved:
    inputs = given_through(source, folder)
    inputs["environment"] = {"COMPOZY_MODE": mode, **inputs.get("environment", {})}
    return resolved(folder, **inputs)


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def leaks(*shown: object) -> list[str]:
    return [text[:200] for text in map(str, shown) if CANARY in text]


def test_the_canary_is_really_there(source: str, mode: str, tmp_path: Path) -> None:
    """Every secret setting has it, or the other tests prove nothing."""
    found = resolved_through(source, mode, tmp_path)
    assert [setting.path for setting in SECRETS if CANARY not in str(found.get(setting.path))] == []
    assert CANARY in str(found.get("knowledge.vector_dbs")) + str(found.get("models"))
    assert CANARY in secrets_of(found.configuration)


def test_no_record_shows_it_in_its_repr(source: str, mode: str, tmp_path: Path) -> None:
    """Configuration, layers, values, decisions, plan, findings, lifecycle."""
    found = resolved_through(source, mode, tmp_path)
    lifecycle = Lifecycle(found.configuration, facts=FACTS)
    lifecycle.resolve()
    tables = found.rulebook.ruleset.tables.values()
    records = [
        found, found.configuration, found.values, lifecycle.records, lifecycle.journal, make_plan(found),
        found.redactor(), found.configuration.texts, validate(found), dict(found.configuration.candidates),
        [occasions(found, table) for table in tables if table.hit == "collect"],
    ]  # fmt: skip
    assert leaks(*map(repr, records)) == []


def test_no_explanation_shows_it(source: str, mode: str, tmp_path: Path) -> None:
    """Of any setting or decision, in any form."""
    found = resolved_through(source, mode, tmp_path)
    explained = [explain(found, key) for key in (*found.values, *found.decisions)]
    assert leaks(*(json.dumps(one.as_json()) for one in explained), *map(repr, explained)) == []


def test_no_answer_shows_it(source: str, mode: str, tmp_path: Path) -> None:
    """Show, the HTTP interface, diagnostics, diff."""
    found = resolved_through(source, mode, tmp_path)
    (tmp_path / "other").mkdir()
    other = resolved(tmp_path / "other")
    shown = [
        resolved_json(found, "resolved", validate(found)),
        diagnostics(found, validate(found)),
        [one.as_json() for one in compare(found, other)],
        [step.addresses for step in make_plan(found).steps],
    ]
    assert leaks(*map(json.dumps, shown)) == []


@pytest.mark.parametrize(
    "args",
    [
        pytest.param(["config", "show", "--all"], id="show"),
        pytest.param(["config", "show", "--format", "json"], id="show-json"),
        pytest.param(["config", "validate"], id="validate"),
        pytest.param(["config", "validate", "--format", "json", "--strict"], id="validate-json"),
        pytest.param(["config", "validate", "--format", "github"], id="validate-github"),
        pytest.param(["config", "validate", "--format", "sarif"], id="validate-sarif"),
        pytest.param(["config", "explain", "database.url"], id="explain"),
        pytest.param(["config", "explain", "knowledge.vector_dbs", "--format", "json"], id="explain-json"),
        pytest.param(["config", "explain", "--finding", "listener.key"], id="explain-finding"),
        pytest.param(["config", "diff", "memory", "distributed"], id="diff"),
        pytest.param(["config", "diff", "persistent", "distributed", "--format", "json"], id="diff-json"),
        pytest.param(["config", "diagnostics"], id="diagnostics"),
        pytest.param(["config", "diagnostics", "--format", "json"], id="diagnostics-json"),
        pytest.param(["plan", "--mode", "distributed"], id="plan"),
        pytest.param(["plan", "--mode", "distributed", "--format", "json"], id="plan-json"),
    ],
)
def test_no_command_prints_it(
    args: list[str], source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In any form, on stdout or stderr, in a configuration with faults beside the secrets."""
    inputs = given_through(source, tmp_path)
    write(
        tmp_path,
        inputs.get("text", "") + f"\nserver_: {{host: 0.0.0.0, api_key: {CANARY}}}\n",
        inputs.get("dotenv", ""),
    )
    for name, text in {**inputs.get("environment", {}), "COMPOZY_REDIS_PASSWORD": CANARY}.items():
        monkeypatch.setenv(name, text)
    flags = [word for path, text in inputs.get("flags", {}).items() for word in ("--set", f"{path}={text}")]
    code = run([*args, "--cwd", str(tmp_path), *flags])
    captured = capsys.readouterr()
    assert code in (0, 1, 2)
    assert captured.out + captured.err
    assert leaks(captured.out, captured.err) == []


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"pasword: {CANARY}", id="misspelled"),
        pytest.param(f"redis: {{pasword: {CANARY}, prot: 1}}", id="misspelled-in-a-group"),
        pytest.param(f"server: {{api-key: '{CANARY}, x', host: [}}", id="file-that-is-no-yaml"),
        pytest.param(f"mode: foo # password: {CANARY}", id="comment"),
        pytest.param(f"database: {{password: [{CANARY}]}}", id="list-for-a-secret"),
        pytest.param(f"database: {{password: '${{{CANARY}', port: 0}}", id="broken-variable"),
        pytest.param(f"database: {{url: 'postgres://u:{CANARY}@h', port: 0}}", id="url-beside-a-fault"),
        pytest.param(f"name: 'http://u:{CANARY}@h?a=1\\n'\nmode: 'http://u:{CANARY}@h'", id="url-in-another-setting"),
        pytest.param(f"server: {{port: 'x?token={CANARY}'}}", id="parameter-in-a-wrong-value"),
        pytest.param(f"database:\n  password: |\n    {CANARY}\n    second\nmode: {CANARY}", id="several-lines"),
        pytest.param(f"password: {CANARY}\npassword: {CANARY}\n", id="twice"),
        pytest.param(f"database: {{url: 'host=h password={CANARY} x=1', port: 0}}", id="key-value-address"),
        pytest.param(f"database: {{url: 'postgres://u:a/{CANARY}@h/x', port: 0}}", id="slash-in-a-password"),
        pytest.param(f"server:\n  api_key:\n    - {CANARY}\n", id="list-below-a-secret"),
        pytest.param(f"server:\n  api_key:\n  - {CANARY}\n", id="list-beside-a-secret"),
        pytest.param(f"server:\n  api_key:\n    a:\n      b: {CANARY}\n", id="mapping-below-a-secret"),
        pytest.param(f"server: {{api_key: [a, {CANARY}], prot: 1}}\n", id="flow-below-a-secret"),
        pytest.param(f"server: {{prot: 1, api_key:\n  {{a: 1,\n b: {CANARY}}}}}\n", id="flow-of-several-lines"),
        pytest.param(
            f"vector_dbs:\n  - id: a\n    provider: qdrant\n    api_key:\n      - {CANARY}\n",
            id="below-a-store-s-secret",
        ),
        pytest.param(f"redis:\n  password: |\n    {CANARY}\n\t{CANARY}\n", id="no-yaml-in-a-block"),
        pytest.param(f"redis:\n  password: |\n   {CANARY}\n  {CANARY}\nmode: x", id="no-yaml-beside-a-block"),
        pytest.param(f"server: {{api_key: [a,\n {CANARY}\n", id="flow-that-is-no-yaml"),
        pytest.param(f"redis:\n  password:\n    {CANARY}: 1\n    {CANARY}: 2\n", id="twice-below-a-secret"),
        pytest.param(f"server: api_key={CANARY}", id="text-for-a-group"),
        pytest.param(f"server: 'api_key: {CANARY}'", id="quoted-text-for-a-group"),
        pytest.param(f"models: 'api_key={CANARY}'", id="text-for-a-list"),
        pytest.param(f"api_key={CANARY}", id="text-for-everything"),
        pytest.param(f"server: {{port: 'http://{'u' * 60}:{CANARY}@h'}}", id="longer-than-what-is-repeated"),
        pytest.param(f"redis: {{url: 'user:{CANARY}@h:1', port: 0}}", id="address-without-scheme"),
        pytest.param(
            f"redis: {{distributed: {{addr: ':{CANARY}@h'}}}}\nserver: {{port: 0}}", id="address-without-user"
        ),
        pytest.param(f"redis: {{host: ':{CANARY}@h:1', port: 0}}", id="password-in-a-host"),
        pytest.param(f"database: {{host: 'u:{CANARY}@h', port: 0}}", id="password-in-a-database-host"),
        pytest.param(
            f"mode: distributed\ntemporal: {{host_port: 'u:{CANARY}@h:1'}}\nserver: {{port: 0}}", id="host-port"
        ),
        pytest.param(f"server: {{host: 'u:{CANARY}@h'}}", id="password-in-the-server-s-host"),
        pytest.param(f"database: {{url: 'postgres://h/x?sslkey_pass={CANARY}', port: 0}}", id="parameter-sslkey-pass"),
        pytest.param(f"database: {{url: 'postgres://h/x?pw={CANARY}', port: 0}}", id="parameter-pw"),
        pytest.param(f"redis: {{url: 'redis://h/0?a=1&credentials={CANARY}', port: 0}}", id="parameter-credentials"),
        pytest.param(f"redis: {{url: 'redis://h/0#token={CANARY}', port: 0}}", id="parameter-in-a-fragment"),
        *(
            pytest.param(f"runtime: {{env: {{{name}: {CANARY}}}}}\nmodels: [{{{name}: {CANARY}}}]\nmode: x", id=name)
            for name in ("db_pwd", "DB_PASS", "dbPass", "auth", "bearer", "key", "jwt", "pw", "Cookie", "Set-Cookie")
        ),
        *(
            pytest.param(text.replace("TOP", key), id=f"{name}-in-{key}")
            for key in ("models", "modells")
            for name, text in {
                "named": f"TOP: [{{name: X_API_KEY, value: {CANARY}}}]\nmode: x",
                "named-block": f"TOP:\n  - name: X_API_KEY\n    value: {CANARY}\nmode: x",
                "named-header": f"TOP: [{{headers: [{{name: Authorization, value: {CANARY}}}]}}]\nmode: x",
                "named-key": f"TOP: [{{key: DB_PASSWORD, value: '{CANARY}, x'}}]\nmode: x",
                "authorization": f"TOP: ['Authorization: Bearer {CANARY}']\nmode: x",
                "curl": f"TOP: ['curl -H \"X-Auth-Token: {CANARY}\" http://h']\nmode: x",
                "bearer": f"TOP: ['send Bearer {CANARY} there']\nmode: x",
                "cookie": f"TOP: ['Cookie: a=1; session={CANARY}']\nmode: x",
            }.items()
        ),
    ],
)
def test_faults_beside_secrets_do_not_show_them(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The source line is shown, the secret in it is not."""
    write(tmp_path, text)
    for form in ("text", "json", "github", "sarif"):
        assert run(["config", "validate", "--format", form, "--cwd", str(tmp_path)]) == 2
    run(["config", "show", "--cwd", str(tmp_path)])
    captured = capsys.readouterr()
    assert leaks(captured.out, captured.err) == []


@pytest.mark.parametrize(
    "line",
    [f"REDIS_PASSWORD {CANARY}", f"COMPOZY_ANYTHING={CANARY}", f"COMPOZY_SERVER_API_KEY={CANARY}", CANARY + "= ="],
)
def test_lines_of_a_dotenv_file_do_not_show_secrets(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line that cannot be parsed may contain a secret."""
    write(tmp_path, "", f"{line}\n")
    run(["config", "validate", "--cwd", str(tmp_path)])
    captured = capsys.readouterr()
    assert leaks(captured.out.replace(f"{CANARY}= ", "")) == []


def test_an_error_shows_it_neither_as_text_nor_in_its_repr(source: str, tmp_path: Path) -> None:
    """Also the texts that it carries for the command line."""
    inputs = given_through(source, tmp_path)
    inputs.setdefault("flags", {})["mode"] = "foo"
    lifecycle = Lifecycle(configured(tmp_path, **inputs), facts=FACTS)
    lifecycle.resolve()
    with pytest.raises(ConfigurationError) as caught:
        lifecycle.validate()
    error: CompozyError = caught.value
    assert leaks(error, repr(error), error.args, vars(error), *caught.value.texts.values()) == []


def test_a_log_line_does_not_show_it(source: str, tmp_path: Path) -> None:
    """Neither in the message nor in a field nor in a traceback."""
    found = resolved_through(source, "distributed", tmp_path)
    formatter = LineFormatter(found.redactor())
    record = logging.makeLogRecord({"msg": "connect %s", "args": (found.get("database.url"),), "password": CANARY})
    record.exc_info = (ValueError, ValueError(f"cannot reach {found.get('redis.url')}"), None)
    assert leaks(formatter.format(record)) == []


@pytest.mark.parametrize("variable", ["MY_TOKEN", "DB_PWD", "X_PASS"])
def test_a_secret_is_known_as_a_choice_spells_it(
    variable: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trimmed and case-folded."""
    write(tmp_path, f"mode: ${{{variable}}}\n")
    monkeypatch.setenv(variable, f" {CANARY} ")
    assert run(["config", "validate", "--cwd", str(tmp_path)]) == 2
    run(["config", "show", "--cwd", str(tmp_path), "--format", "json"])
    captured = capsys.readouterr()
    assert "[REDACTED]" in captured.out
    assert CANARY.casefold() not in (captured.out + captured.err).casefold()


def test_boolean_setting_is_not_redacted(tmp_path: Path) -> None:
    """With any name."""
    found = resolved(tmp_path, "runtime: {env: {auth: true}}\n")
    shown: Any = resolved_json(found, "resolved", ())["settings"]
    assert shown["runtime"]["value"] == {"env": {"auth": True}}
    assert "True" not in secrets_of(found.configuration)


def test_a_usage_error_does_not_repeat_a_value(capsys: pytest.CaptureFixture[str]) -> None:
    """`--set path:value` is a slip of the hand."""
    assert run(["config", "show", "--set", f"redis.password:{CANARY}"]) == 2
    assert leaks(capsys.readouterr().err) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgres://me:pw@db/x", "postgres://[REDACTED]@db/x"),
        ("https://db/x?a=1&API_KEY=pw&b=2", "https://db/x?a=1&API_KEY=[REDACTED]&b=2"),
        ("host=db password='p w' user=me", "host=db password=[REDACTED] user=me"),
        ("https://db/x?max_tokens=5", "https://db/x?max_tokens=5"),
        ("me@example.org", "me@example.org"),
        ("Authorization: Bearer abc-123", "Authorization: [REDACTED]"),
        ("it wants Basic dXNlcjpwYXNz", "it wants Basic [REDACTED]"),
        ("basic authentication, bearer tokens", "basic authentication, bearer tokens"),
    ],
)
def test_addresses_lose_their_secrets_only(text: str, expected: str) -> None:
    """The parts that help to find a fault stay."""
    assert redact_url(text) == expected


def test_a_secret_in_an_address_is_known_as_drivers_see_it() -> None:
    """Percent-encoded and decoded."""
    assert {"p%40ss", "p@ss"} <= set(secret_parts("postgres://me:p%40ss@db/x"))


def test_a_masked_line_keeps_its_columns() -> None:
    """So that the caret points to what it should."""
    line = f"{{password: {CANARY}, prot: 1}}"
    assert masked_lines(line)[0].index("prot") == line.index("prot")
    assert leaks(*masked_lines(line), Redactor([CANARY]).masked(line)) == []


def test_a_word_of_the_product_as_password_hides_itself_only(tmp_path: Path) -> None:
    """The driver is still called postgres."""
    found = resolved(tmp_path, "database: {driver: postgres, user: postgres, password: postgres}\n")
    shown: Any = resolved_json(found, "resolved", ())["settings"]
    values = {name: shown[f"database.{name}"]["value"] for name in ("driver", "user", "password")}
    assert values == {"driver": "postgres", "user": "postgres", "password": "[REDACTED]"}


def test_a_short_secret_does_not_blot_out_everything(tmp_path: Path) -> None:
    """A password of two letters hides itself, not every text that has these letters."""
    found = resolved(tmp_path, nested("redis.password", "db"))
    shown: Any = resolved_json(found, "resolved", ())
    assert shown["settings"]["redis.password"]["value"] == "[REDACTED]"
    assert shown["settings"]["database.path"]["value"] == ":memory:"


@pytest.mark.parametrize(
    ("secret", "text", "expected"),
    [
        pytest.param("listen", "listener.key: listen", "listener.key: [REDACTED]", id="word"),
        pytest.param("listen", "key=listen&x", "key=[REDACTED]&x", id="between-signs"),
        pytest.param("user", "superusers my_user", "superusers my_[REDACTED]", id="underscore"),
        pytest.param("#key", "x#key #keys", "x[REDACTED] #keys", id="edge-without-letters"),
        pytest.param("a-longer-one", "xa-longer-oney", "x[REDACTED]y", id="long"),
    ],
)
def test_short_secret_is_hidden_as_a_word(secret: str, text: str, expected: str) -> None:
    """Parts of other words only look like it; a long secret is no accident."""
    assert Redactor([secret]).text(text) == expected


def test_short_secret_leaves_the_text_of_rules_alone(tmp_path: Path) -> None:
    """Messages, hints and rule files of the product hold no secrets; setting names are words of the product."""
    found = resolved(tmp_path, "server: {host: 0.0.0.0, api_key: listen}\ndatabase: {password: hosts}\n")
    (one,) = validate(found)
    assert one.hint == "set server.api_key to a random key, or listen on 127.0.0.1"
    assert one.rule is not None
    texts = found.configuration.texts
    assert "or listen on" in texts[one.rule.file]
    assert "listen" not in texts["compozy.yaml"]
    shadowed = resolved(tmp_path, "database: {password: name, user: name}\n")
    assert shadowed.redactor().text("database.name of name") == "database.name of name"
