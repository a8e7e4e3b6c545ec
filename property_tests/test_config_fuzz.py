"""Any configuration yields findings: never another exception, never a hang."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unicodedata import category

from hypothesis import example, given, settings
from hypothesis import strategies as st
from property_tests.config_documents import DOCUMENTS, REGISTRY, as_text

from compozy.base.control import escape_control
from compozy.base.findings import Finding
from compozy.cli.explained import explanation_lines
from compozy.cli.finding_formats import github_lines, sarif_log
from compozy.cli.output import finding_lines
from compozy.errors import RuleTableError
from compozy.explain.diagnostics import diagnostics
from compozy.explain.show import resolved_json
from compozy.explain.value import explain
from compozy.resolution.configuration import load_configuration
from compozy.resolution.resolve import Resolved, resolve
from compozy.resolution.validate import validate

FACTS = {"valkey.binary": "found"}
IDS = st.sampled_from(
    ["", "a", "${", "${A}", "${A:-b}", "${A:?c}", "$$", "\x00", "\ud800", "é", "🙂", "\u2028", "&x", "*x"]
)
ANYTHING = st.text(max_size=30)
TEXTS = st.one_of(ANYTHING, st.lists(IDS, max_size=4).map("".join), DOCUMENTS.map(as_text))
VARIABLES = st.dictionaries(
    st.one_of(
        st.sampled_from(sorted(REGISTRY.by_env)),
        st.text("ABC_", max_size=8).map("COMPOZY_{}".format),
        st.text("AB", min_size=1, max_size=2),
    ),
    TEXTS,
    max_size=4,
)
FLAGS = st.dictionaries(st.one_of(st.sampled_from(sorted(REGISTRY.spelled)), st.text(max_size=8)), TEXTS, max_size=4)


PUNCTUATION = st.sampled_from(list("{}[]:,'\"#&*!|>%@`-? \n\t$"))
BOMB = b"a: &a [x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c]\n"
DOTENV = st.one_of(
    st.just(b""), ANYTHING.map(lambda text: text.encode("utf-8", "surrogatepass")), st.binary(max_size=40)
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Return a document with characters cut out, repeated and put in."""
    text = draw(st.one_of(DOCUMENTS.map(as_text), st.sampled_from(SHAPES)))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 12)))
        put = draw(st.one_of(PUNCTUATION, st.text(max_size=3), st.just(text[start:end] * 2)))
        text = text[:start] + put + text[end:]
    return text.encode("utf-8", "surrogatepass")


SHAPES = (
    "mode: memory\nserver:\n  port: 8081\n",
    "x: &a [1, 2]\nmodels: [*a, *a]\n",
    "temporal:\n  tls: {ca_file: ./a, enabled: true}\nruntime: {a: {b: [c]}}\n",
    "vector_dbs:\n- id: a\n  provider: qdrant\n  config:\n    api_key: ${KEY:-secret-default}\n",
    "description: |\n  many\n  lines\nname: >-\n  folded\n",
    "? complex\n: key\n---\nsecond: document\n",
)


def assert_only_findings(files: Mapping[str, bytes], environment: Mapping[str, str], flags: Mapping[str, str]) -> None:
    """Read, resolve, validate and show; a rule pack that does not exist is the one other known end."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            Path(folder, name).write_bytes(content)
        try:
            configuration = load_configuration(directory=folder, environment=environment, flags=flags)
        except RuleTableError as error:
            refused = error.message
        else:
            resolved = resolve(configuration, FACTS)
            shown(resolved, validate(resolved))
            return
        assert "rule pack" in refused


def shown(resolved: Resolved, found: tuple[Finding, ...]) -> None:
    """Show everything in every form."""
    texts = resolved.configuration.texts
    for finding in found:
        assert finding.id
        assert finding.message
        assert finding.severity in ("error", "warning")
        printed = (escape_control(line) for line in finding_lines(finding, texts))
        assert not any(category(char) == "Cc" for line in printed for char in line)
    json.dumps(
        [resolved_json(resolved, "resolved", found), diagnostics(resolved, found), sarif_log(found, ".")],
        allow_nan=False,
    )
    assert all("\n" not in line for line in github_lines(found, "."))
    for key in ("mode", "database.path", "redis.driver", "knowledge.vector_dbs"):
        assert list(explanation_lines(explain(resolved, key)))
    assert validate(resolved) == found


@settings(max_examples=100)
@example(b"[" * 100_000)
@example(BOMB)
@example(b"\xff\xfe\x00")
@example(b"mode: '\\ud800'\n")
@given(st.one_of(mutated(), st.binary(max_size=60)))
def test_any_file_gives_findings(content: bytes) -> None:
    """Valid, mutated, or not even text."""
    assert_only_findings({"compozy.yaml": content}, {}, {})


@settings(max_examples=80)
@given(VARIABLES, DOTENV)
def test_any_environment_gives_findings(environment: Mapping[str, str], dotenv: bytes) -> None:
    """Known names, unknown names, any text, any `.env`."""
    assert_only_findings({".env": dotenv, "compozy.yaml": b"name: ${A:-x}${B:-y}\n"}, environment, {})


@settings(max_examples=80)
@given(FLAGS)
def test_any_flag_gives_findings(flags: Mapping[str, str]) -> None:
    """Known paths, unknown paths, any text."""
    assert_only_findings({}, {}, flags)


@settings(max_examples=60)
@given(DOCUMENTS, VARIABLES, FLAGS)
def test_all_sources_together_give_findings(
    document: Any, environment: Mapping[str, str], flags: Mapping[str, str]
) -> None:
    """They do not disturb each other."""
    assert_only_findings({"compozy.yaml": as_text(document).encode()}, environment, flags)
