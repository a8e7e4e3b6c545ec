"""Findings name fault, place and fix; their texts are fixed, and none contains a secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.project import findings, resolved

from compozy.base.findings import Finding
from compozy.cli.output import finding_lines
from compozy.resolution.validate import errors, promoted, validate

OPEN = "server: {host: 0.0.0.0, api_key: KEY}"
FAULTS = """\
mode: persistant
databse: {driver: sqlite}
server:
  prot: 8081
  host: 0.0.0.0
database:
  path: ../shop.db
  ssl_mode: requird
  pasword: hunter2-in-a-wrong-key
  port: 70000
redis:
  password: hunter2-of-redis
  mode: persistentt
  db: zero
temporal:
  standalone: {ui_port: 7233, start_timeout: 0s, enable_ui: true}
vector_dbs:
  - {id: a, provider: pgvektor, config: {api_key: hunter2-of-the-store}}
"""
PLANTED = [
    ("mode.unknown", 1, 7, 'did you mean "persistent"?'),
    ("key.unknown", 2, 1, 'did you mean "database"?'),
    ("key.unknown", 4, 3, 'did you mean "server.port"?'),
    ("listener.key", 5, 9, "set server.api_key"),
    ("database.path.climbs", 7, 9, "name a file below the configuration file"),
    ("key.not-allowed", 8, 13, 'did you mean "require"?'),
    ("key.unknown", 9, 3, 'did you mean "database.password"?'),
    ("port.range.database", 10, 9, "PostgreSQL listens on 5432"),
    ("redis.mode.unknown", 13, 9, 'did you mean "persistent"?'),
    ("key.type", 14, 7, 'found "zero"'),
    ("port.equal.temporal-ui", 16, 25, "give one of them another port"),
    ("timeout.zero.temporal", 16, 46, "the default is 30s"),
    ("key.not-allowed", 18, 23, 'did you mean "pgvector"?'),
]
STANDALONE = """\
invalid mode "standalone"
Hint: The "standalone" mode has been replaced with:
  - mode: memory (for ephemeral testing)
  - mode: persistent (for file-based storage)
See migration guide: docs/guides/mode-migration-guide.md"""
PGVECTOR = """\
pgvector provider is incompatible with SQLite driver.
SQLite requires an external vector database.
Configure one of: Qdrant, Redis, or Filesystem."""


def located(finding: Finding) -> tuple[str, int, int]:
    place = finding.where.place
    return (finding.id, place.line, place.column) if place else (finding.id, 0, 0)


def test_every_planted_fault_is_found_at_once(tmp_path: Path) -> None:
    """Thirteen faults, thirteen errors, each with line, column and what to do."""
    found = errors(findings(tmp_path, FAULTS))
    assert [located(one) for one in found] == [fault[:3] for fault in PLANTED]
    assert [(one.id, hint) for one, (*_, hint) in zip(found, PLANTED, strict=True) if hint not in one.hint] == []


def test_planted_secrets_do_not_show(tmp_path: Path) -> None:
    """Not in the texts, not in the source lines, not under a misspelled key."""
    found = resolved(tmp_path, FAULTS)
    texts = found.configuration.texts
    lines = [line for one in validate(found) for line in finding_lines(one, texts)]
    assert [line for line in lines if "hunter2" in line] == []


def test_a_finding_shows_its_line_and_its_rule(tmp_path: Path) -> None:
    """Two spans: what was written, and the row that minds."""
    found = resolved(tmp_path, "name: shop\nmode: foo\n")
    lines = finding_lines(validate(found)[0], found.configuration.texts)
    assert lines[:6] == [
        'error[mode.unknown]: invalid mode "foo". Valid modes: memory, persistent, distributed',
        "  --> compozy.yaml:2:7",
        "   |",
        " 2 | mode: foo",
        "   |       ^^^",
        "  = hint: choose one of memory, persistent, distributed",
    ]
    assert lines[6].startswith("  ::: rules/validate/modes.yaml:")
    assert "id: mode.unknown" in lines[8]
    assert set(lines[9].partition("|")[2].strip()) == {"-"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("mode: foo", 'invalid mode "foo". Valid modes: memory, persistent, distributed', id="mode"),
        pytest.param(
            "temporal: {mode: foo}",
            'invalid temporal mode "foo". Valid modes: memory, persistent, remote',
            id="temporal",
        ),
        pytest.param(
            "redis: {mode: foo}", 'invalid redis mode "foo". Valid modes: memory, persistent, distributed', id="redis"
        ),
        pytest.param("mode: standalone", STANDALONE, id="standalone"),
        pytest.param("temporal: {mode: Standalone}", STANDALONE, id="temporal-standalone"),
        pytest.param("redis: {mode: ' standalone '}", STANDALONE, id="redis-standalone"),
        pytest.param(
            "database: {driver: mysql}",
            'unsupported database driver "mysql". Valid drivers: sqlite, postgres',
            id="driver",
        ),
        pytest.param(
            "worker: {max_concurrent_workflows: 50}",
            "SQLite has concurrency limitations (max_concurrent_workflows=50, recommended_max=10)",
            id="concurrency",
        ),
        pytest.param(
            "worker: {max_concurrent_workflow_execution_size: 0}",
            "SQLite has concurrency limitations (max_concurrent_workflows=0, recommended_max=10)",
            id="unbounded",
        ),
        pytest.param(
            "knowledge_bases: [{id: docs}]",
            "SQLite mode without vector database - knowledge features will not work",
            id="knowledge",
        ),
    ],
)
def test_the_texts_are_those_of_the_contract(text: str, message: str, tmp_path: Path) -> None:
    """Other programs look for them."""
    assert [one.message for one in findings(tmp_path, text)] == [message]


@pytest.mark.parametrize("provider", ["pgvector", "PGVector", " PGVECTOR "])
@pytest.mark.parametrize("list_", ["knowledge: {vector_dbs: [%s]}", "vector_dbs: [%s]"])
@pytest.mark.parametrize("mode", ["memory", "persistent"])
def test_pgvector_is_refused_on_sqlite_in_any_case(mode: str, list_: str, provider: str, tmp_path: Path) -> None:
    """Wherever the vector store is declared; the docs page is named."""
    text = f"mode: {mode}\n" + list_ % f"{{id: a, provider: '{provider}'}}"
    found = findings(tmp_path, text)
    assert [one.message.startswith(PGVECTOR) for one in found] == [True]
    assert found[0].docs == "docs/guides/vector-stores.md"


@pytest.mark.parametrize(
    ("sources", "key", "suggestion"),
    [
        ({"environment": {"COMPOZY_SERVER_PORT": "1"}}, "COMPOZY_SERVER_PORT", "COMPOZY_SERVER__PORT"),
        ({"environment": {"COMPOZY_SERVER__PROT": "1"}}, "COMPOZY_SERVER__PROT", "COMPOZY_SERVER__PORT"),
        ({"environment": {"COMPOZY_DATABASE__URL": "x"}}, "COMPOZY_DATABASE__URL", "DB_URL"),
        ({"environment": {"COMPOZY_TEMPORAL_MODE": "x"}}, "COMPOZY_TEMPORAL_MODE", "TEMPORAL_MODE"),
        (
            {"environment": {"COMPOZY_REDIS__EMBEDDED__ENGINE": "x"}},
            "COMPOZY_REDIS__EMBEDDED__ENGINE",
            "COMPOZY_REDIS__STANDALONE__ENGINE",
        ),
        ({"dotenv": "COMPOZY_MOD=memory\n"}, "COMPOZY_MOD", "COMPOZY_MODE"),
        ({"flags": {"server.prot": "1"}}, "server.prot", "server.port"),
        ({"text": "redis: {embeded: {engine: auto}}"}, "redis.embeded", "redis.embedded"),
        ({"text": "redis.host: a"}, "redis.host", "redis: {host: ...}"),
        ({"text": "database: {auto-migrate: true}"}, "database.auto-migrate", "database.auto_migrate"),
    ],
)
def test_a_misspelled_name_gets_a_suggestion(
    sources: dict[str, Any], key: str, suggestion: str, tmp_path: Path
) -> None:
    """Keys, variables (also `_` for `__`), and paths of flags."""
    found = findings(tmp_path, **sources)
    assert [one.key for one in found] == [key]
    assert suggestion in found[0].hint


def test_variable_of_the_testing_kit_is_accepted(tmp_path: Path) -> None:
    """The testing kit has variables of its own."""
    assert findings(tmp_path, environment={"COMPOZY_TEST_MODE": "memory"}) == ()


def test_findings_are_in_the_order_of_their_places(tmp_path: Path) -> None:
    """Flags, environment, `.env`, file by line; the same every time."""
    sources: dict[str, Any] = {
        "text": "b: 1\na: 1\n",
        "environment": {"COMPOZY_B": "1", "COMPOZY_A": "1"},
        "dotenv": "COMPOZY_C=1\n",
        "flags": {"zzz": "1"},
    }
    keys = [one.key for one in findings(tmp_path, **sources)]
    assert keys == ["zzz", "COMPOZY_A", "COMPOZY_B", "COMPOZY_C", "b", "a"]


def test_strict_makes_warnings_errors(tmp_path: Path) -> None:
    """And nothing else."""
    found = findings(tmp_path, "worker: {max_concurrent_workflows: 50}")
    assert [one.severity for one in found] == ["warning"]
    assert [one.severity for one in promoted(found)] == ["error"]
    assert promoted(found, strict=False) == tuple(found)


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    """They are shown, not obeyed."""
    found = findings(tmp_path, 'mode: persistent\ndatabase: {path: "a\\e[31m\\tb"}\n')
    assert [one.message for one in found] == [r"database.path a\x1b[31m\tb has control characters"]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        pytest.param("{a: 1}", ["key.type"], id="wrong"),
        pytest.param("'${COMPOZY_NO_SUCH_KEY}'", ["variable.unset"], id="unset-variable"),
        pytest.param("null", ["listener.key"], id="not-set"),
        pytest.param("a-long-secret-key", ["server.api_key.clear"], id="set"),
    ],
)
def test_one_mistake_is_one_finding(tmp_path: Path, key: str, expected: list[str]) -> None:
    """A value that could not be read is not called missing as well."""
    assert [one.id for one in findings(tmp_path, OPEN.replace("KEY", key))] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("vector_dbs: foo\nknowledge_bases: [{id: a}]", ["key.type"], id="alias"),
        pytest.param("knowledge: foo\nknowledge_bases: [{id: a}]", ["key.type"], id="group"),
        pytest.param("redis: foo\nmode: distributed", ["key.type"], id="group-with-defaults"),
    ],
)
def test_one_mistake_is_one_finding_however_it_is_spelled(text: str, expected: list[str], tmp_path: Path) -> None:
    """Another spelling of a setting, or the group that it is in."""
    assert [one.id for one in findings(tmp_path, text)] == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "redis: {embedded: {engine: valkey}, standalone: {engine: fakeredis}}",
            '"redis.standalone.engine" is another spelling of redis.embedded.engine',
            id="group",
        ),
        pytest.param(
            "redis: {host: a, distributed: {addr: b}}",
            '"redis.distributed.addr" is another spelling of redis.host',
            id="address",
        ),
        pytest.param(
            "vector_dbs: [{id: a, provider: redis, name: b}]",
            '"vector_dbs[0].name" is another spelling of vector_dbs[0].id',
            id="field",
        ),
    ],
)
def test_two_spellings_are_both_named(text: str, message: str, tmp_path: Path) -> None:
    """The one that is wrong, and the one that was there first."""
    found = [one.message for one in findings(tmp_path, text) if one.id == "key.two-spellings"]
    assert [one.partition(",")[0] for one in found] == [message]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("../redis", ["redis.data_dir.climbs"], id="out"),
        pytest.param("a\\tb", ["redis.data_dir.control"], id="control"),
        pytest.param("compozy.yaml", ["redis.data_dir.file"], id="file"),
        pytest.param("./data/redis", [], id="new"),
        pytest.param(".", [], id="directory"),
    ],
)
def test_directory_of_redis_is_checked_only_if_used(value: str, expected: list[str], tmp_path: Path) -> None:
    text = f'redis: {{standalone: {{persistence: {{data_dir: "{value}"}}}}}}\n'
    assert [one.id for one in findings(tmp_path, f"mode: persistent\n{text}")] == expected
    unused = findings(tmp_path, f"mode: distributed\n{text}")
    assert [one.id for one in unused if one.key == "redis.standalone.persistence.data_dir"] == []


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("database: {driver: postgres, path: ../x.db}", id="database"),
        pytest.param("temporal: {mode: remote, standalone: {database_file: ../x.db}}", id="temporal"),
    ],
)
def test_unused_path_is_not_checked(text: str, tmp_path: Path) -> None:
    assert [one.id for one in findings(tmp_path, text) if one.id.endswith(".climbs")] == []


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param("data/../x.db", [], id="back-inside"),
        pytest.param("./data/./../x.db", [], id="dots"),
        pytest.param("data/../../x.db", ["database.path.climbs"], id="in-and-out"),
        pytest.param("../x.db", ["database.path.climbs"], id="out"),
        pytest.param("./../x.db", ["database.path.climbs"], id="out-with-a-dot"),
        pytest.param("..\\\\x.db", ["database.path.climbs"], id="out-with-a-backslash"),
        pytest.param("/var/lib/../x.db", [], id="absolute"),
        pytest.param("a\\x85b.db", ["database.path.control"], id="next-line"),
        pytest.param("a\\x7fb.db", ["database.path.control"], id="delete"),
        pytest.param("a..b/..c.db", [], id="dots-in-names"),
    ],
)
def test_a_path_climbs_out_when_it_ends_outside(path: str, expected: list[str], tmp_path: Path) -> None:
    """And has control characters when Unicode calls them so."""
    text = f'mode: persistent\ndatabase: {{path: "{path}"}}\n'
    assert [one.id for one in findings(tmp_path, text)] == expected


@pytest.mark.parametrize("host", ["LocalHost", "LOCALHOST", "127.0.0.1", "::1"])
def test_this_machine_is_not_open_to_others(host: str, tmp_path: Path) -> None:
    """Names of hosts have no case."""
    assert findings(tmp_path, f"server: {{host: '{host}'}}") == ()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        pytest.param("temporal: {host_port: 'h:99999'}", "temporal.host_port", id="temporal-port"),
        pytest.param("temporal: {host_port: nocolon}", "temporal.host_port", id="temporal-without-port"),
        pytest.param("temporal: {host_port: 'u:p@h:1'}", "temporal.host_port", id="temporal-with-user"),
        pytest.param("redis: {url: 'redis://h:99999'}", "redis.url", id="redis-port"),
        pytest.param("redis: {url: nonsense}", "redis.url", id="redis-no-url"),
        pytest.param("redis: {url: 'http://h'}", "redis.url", id="redis-scheme"),
        pytest.param("database: {url: 'mysql://h/x'}", "database.url", id="database-scheme"),
        pytest.param("database: {url: 'postgres://h:0/x'}", "database.url", id="database-port"),
        pytest.param("database: {url: 'postgres://h:1,i:x/x'}", "database.url", id="database-second-port"),
        pytest.param(
            "vector_dbs: [{id: a, provider: redis}, {name: a, provider: filesystem}]",
            "knowledge.vector_dbs[1].id",
            id="store-twice",
        ),
        pytest.param("vector_dbs: [{url: 'http://q'}]", "vector_dbs[0]", id="store-without-anything"),
    ],
)
@pytest.mark.parametrize("mode", ["memory", "distributed"])
def test_invalid_address_is_named(mode: str, text: str, key: str, tmp_path: Path) -> None:
    """Its form, its port, the scheme of its component; and stores without a name."""
    assert [one.key for one in errors(findings(tmp_path, f"mode: {mode}\n{text}\n"))] == [key]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("temporal: {host_port: ' temporal.example.org:7233 '}", id="host-and-port"),
        pytest.param("temporal: {host_port: '[::1]:7233'}", id="ipv6"),
        pytest.param("redis: {url: 'rediss://:pa:ss@h:6380/0?ssl_cert_reqs=none'}", id="redis"),
        pytest.param("redis: {url: 'unix:///run/redis.sock?db=1'}", id="socket"),
        pytest.param("redis: {url: 'REDIS://h'}", id="capitals"),
        pytest.param("database: {url: 'postgresql://u:p@a:5432,[::1]:5433/shop?sslmode=require'}", id="several-hosts"),
        pytest.param("database: {url: 'postgres:///shop?host=/run/postgresql'}", id="no-host"),
        pytest.param("database: {url: 'host=db user=me dbname=shop'}", id="keywords"),
    ],
)
def test_valid_address_is_accepted(text: str, tmp_path: Path) -> None:
    """In every form that it has."""
    assert errors(findings(tmp_path, f"mode: distributed\n{text}\n")) == ()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        pytest.param("knowledge: {fetch: {allow: [[]]}}", "knowledge.fetch.allow[0]", id="network"),
        pytest.param("workflows: [{a: 1}]", "workflows[0]", id="text"),
        pytest.param("tools: ['a:b', []]", "tools[1]", id="second"),
    ],
)
def test_unreadable_element_of_a_list_is_one_finding(text: str, key: str, tmp_path: Path) -> None:
    assert [(one.id, one.key) for one in findings(tmp_path, text)] == [("key.type", key)]
