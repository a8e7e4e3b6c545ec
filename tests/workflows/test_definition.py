"""Workflow files: the definition of a valid file, and the problems of an invalid one."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from compozy.errors import DefinitionError, NotFoundError, SyntaxProblem
from compozy.workflows.expressions.functions import FILTERS
from compozy.workflows.model.definition import Input, Retry
from compozy.workflows.read.loader import definition_from_json, load_definition, parse_definition
from compozy.workflows.tasks.aggregate import Aggregate
from compozy.workflows.tasks.basic import Basic
from compozy.workflows.tasks.task_type import TYPES

EXAMPLES = Path(__file__).parents[2] / "examples"


def problems(text: str) -> tuple[str, ...]:
    """Return the problems of an indented definition."""
    with pytest.raises(DefinitionError) as caught:
        parse_definition(textwrap.dedent(text).lstrip("\n"), "f.yaml")
    return tuple(str(finding) for finding in caught.value.findings)


def test_every_key_of_a_definition_becomes_a_record() -> None:
    """The records hold seconds, numbers and plain JSON."""
    text = """
        id: all-keys
        version: 1.2.3
        description: Shows every key.
        x-owner: admin
        input:
          name: World
          count: {default: 3, description: How many.}
          who: {required: true}
          nothing:
          settings: {a: 1}
        tasks:
          - {id: one, type: aggregate, sleep: 1m30s, output: {deep: [1, "x"]}}
          - id: two
            type: basic
            description: Calls.
            tool: pkg.mod:work
            with: {n: 1}
            timeout: 2m
            retry: {max_attempts: 5, initial_interval: 100ms, backoff: 1.5, max_interval: 1s}
        outputs: {n: "{{ tasks.two.output }}"}
        """
    found = parse_definition(textwrap.dedent(text), "all.yaml")

    assert (found.id, found.version, found.description) == ("all-keys", "1.2.3", "Shows every key.")
    assert found.inputs == (
        Input("name", "World"),
        Input("count", 3, description="How many."),
        Input("who", required=True),
        Input("nothing", required=True),
        Input("settings", {"a": 1}),
    )
    assert found.tasks == (
        Aggregate(id="one", sleep_s=90.0, output={"deep": [1, "x"]}),
        Basic(
            id="two",
            description="Calls.",
            tool="pkg.mod:work",
            arguments={"n": 1},
            timeout_s=120.0,
            retry=Retry(5, 0.1, 1.5, 1.0),
        ),
    )
    assert found.outputs == {"n": "{{ tasks.two.output }}"}


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.yaml")), ids=lambda path: path.name)
def test_examples_are_valid(path: Path) -> None:
    """Every example that has tasks is a workflow."""
    if "tasks:" in path.read_text(encoding="utf-8"):
        assert load_definition(path).tasks


def test_the_json_form_gives_the_same_definition() -> None:
    """An export can be read again."""
    original = load_definition(EXAMPLES / "tool" / "shout.yaml")

    again = definition_from_json(original.plain, "import")

    assert (again.plain, again.tasks, again.inputs) == (original.plain, original.tasks, original.inputs)


def test_places_name_tasks_and_templates() -> None:
    """A failure at run time names its place in the file."""
    found = load_definition(EXAMPLES / "hello-world.yaml")

    assert found.place("tasks.greet.output").endswith("hello-world.yaml:13:13")
    assert found.place("tasks.other").endswith("hello-world.yaml: tasks.other")


TASK = "tasks: [{id: a, type: aggregate, output: 1}]"
BAD = [
    pytest.param("[]", "1:1: a workflow must be a mapping", id="no-mapping"),
    pytest.param(TASK, "1:1: a workflow needs `id`", id="no-id"),
    pytest.param(
        f"id: Hello World\n{TASK}",
        "1:5: `id` of a workflow must be lower-case letters, digits, - and _ (at most 100), quoted if a number",
        id="bad-id",
    ),
    pytest.param("id: a", "1:1: a workflow needs `tasks`", id="no-tasks"),
    pytest.param(
        "id: a\ntasks: []", "2:8: `tasks` of a workflow must be a list with at least one task", id="empty-tasks"
    ),
    pytest.param(f"id: a\ntaks: 1\n{TASK}", '2:1: unknown key "taks" in a workflow; did you mean "tasks"?', id="typo"),
    pytest.param(
        f"id: a\nzzz: 1\n{TASK}",
        '2:1: unknown key "zzz" in a workflow; known: id, version, description, input, tasks, outputs',
        id="unknown-key",
    ),
    pytest.param(f"id: a\nversion: [1]\n{TASK}", "2:10: `version` of a workflow must be text", id="version"),
    pytest.param(
        f"id: a\ninput: [x]\n{TASK}", "2:8: `input` of a workflow must be a mapping of names to defaults", id="input"
    ),
    pytest.param(
        f"id: a\ninput: {{user-name: x}}\n{TASK}",
        '2:9: input name "user-name" must be letters, digits and _, not starting with a digit',
        id="input-name",
    ),
    pytest.param(
        f"id: a\ninput: {{n: {{required: true, default: 1}}}}\n{TASK}",
        '2:23: input "n" is required and has a default; keep one of both',
        id="required-default",
    ),
    pytest.param("id: a\ntasks: [1]", "2:9: `tasks[0]` of a task must be a mapping", id="scalar-task"),
    pytest.param(
        "id: a\ntasks:\n  - {id: t}",
        f"3:5: a task needs `type`: one of {', '.join(TYPES)}",
        id="no-type",
    ),
    pytest.param(
        "id: a\ntasks:\n  - {id: t, type: agregate, output: 1}",
        '3:19: `type` of a task is unknown; did you mean "aggregate"?',
        id="type-typo",
    ),
    pytest.param(
        "id: a\ntasks:\n  - {id: t, type: aggregate}", "3:5: an aggregate task needs `output`", id="no-output"
    ),
    pytest.param(
        "id: a\ntasks:\n  - {id: t, type: basic, tool: nothing}",
        "3:32: `tool` of a basic task must be module:function, such as package.module:function",
        id="bad-tool",
    ),
    pytest.param(
        "id: a\ntasks:\n  - {id: t, type: basic, tool: 'a:b', isolation: thead}",
        '3:50: `isolation` of a basic task must be thread or process; did you mean "thread"?',
        id="isolation",
    ),
    pytest.param(
        "id: a\ntasks:\n  - {id: t, type: basic, tool: 'a:b', with: {k: 'x {{ secrets.A }}'}}",
        """3:49: "secrets" is there for a whole argument of a tool only: with: {key: "{{ secrets.NAME }}"}""",
        id="part-of-an-argument",
    ),
    pytest.param(
        "id: a\ntasks:\n  - {id: t, type: aggregate, output: '{{ secrets.A }}'}",
        """3:38: "secrets" is there for a whole argument of a tool only: with: {key: "{{ secrets.NAME }}"}""",
        id="secret-as-output",
    ),
    pytest.param(
        "id: a\ntasks:\n  - {id: t, type: aggregate, output: 1, sleep: 5}",
        "3:48: `sleep` of an aggregate task: expected a duration such as 500ms, 5m or 168h",
        id="bare-number",
    ),
    pytest.param(
        "id: a\ntasks:\n  - {id: t, type: aggregate, output: 1, sleep: 99999h}",
        "3:48: `sleep` of an aggregate task must be at most ten years, such as 500ms, 5m or 168h",
        id="too-long",
    ),
    pytest.param(
        "id: a\ntasks:\n  - {id: t, type: basic, tool: 'm:f', timeout: '0'}",
        "3:48: `timeout` of a basic task must be more than nothing and at most ten years, such as 500ms, 5m or 168h",
        id="no-time",
    ),
    pytest.param(
        "id: a\ntasks:\n  - {id: t, type: basic, tool: 'm:f', retry: {max_attempts: 0}}",
        "3:61: `max_attempts` of a retry policy must be a whole number from 1 to 1000",
        id="attempts",
    ),
    pytest.param(
        "id: a\ntasks:\n  - {id: t, type: basic, tool: 'm:f', retry: {attempts: 3}}",
        '3:47: unknown key "attempts" in a retry policy; did you mean "max_attempts"?',
        id="retry-key",
    ),
    pytest.param(
        "id: a\ntasks:\n  - {id: t, type: aggregate, output: 1}\n  - {id: t, type: aggregate, output: 1}",
        '4:10: task id "t" is used twice; the first one is on line 3',
        id="duplicate",
    ),
    pytest.param(
        'id: a\ntasks:\n  - {id: t, type: aggregate, output: "{{ x "}',
        "3:38: template: unexpected end of template, expected 'end of print statement'.",
        id="template-syntax",
    ),
    pytest.param(
        'id: a\ntasks:\n  - {id: t, type: aggregate, output: "{{ nam }}"}',
        '3:38: "nam" is not defined; templates know workflow, tasks, input',
        id="unknown-name",
    ),
    pytest.param(
        'id: a\ntasks:\n  - {id: t, type: aggregate, output: "{{ 1 | uper }}"}',
        '3:38: template: the filter "uper" is not available in templates; did you mean "upper"?',
        id="unknown-filter",
    ),
    pytest.param(
        'id: a\ntasks:\n  - {id: t, type: aggregate, output: "{{ [1] | random }}"}',
        '3:38: template: the filter "random" is not available in templates; filters: ' + ", ".join(FILTERS),
        id="chance",
    ),
    pytest.param(
        'id: a\ninput: {name: x}\ntasks:\n  - {id: t, type: aggregate, output: "{{ workflow.input.nam }}"}',
        '4:38: input "nam" is not declared; did you mean "name"?',
        id="undeclared-input",
    ),
    pytest.param(
        'id: a\ntasks:\n  - {id: t, type: aggregate, output: "{{ workflow.inputs.name }}"}',
        '3:38: "workflow.inputs" does not exist; workflow has: id, version, execution_id, input',
        id="workflow-member",
    ),
    pytest.param(
        'id: a\ntasks:\n  - {id: t, type: aggregate, output: "{{ tasks.b.output }}"}',
        '3:38: task "b" does not exist; known: t',
        id="unknown-task",
    ),
    pytest.param(
        'id: a\ntasks:\n  - {id: t, type: aggregate, output: "{{ tasks.t.output }}"}',
        '3:38: task "t" has not run yet at this point; only earlier tasks have an output',
        id="itself",
    ),
    pytest.param(
        'id: a\ntasks:\n  - {id: t, type: aggregate, output: 1}\noutputs: {x: "{{ tasks.t.result }}"}',
        '4:14: "tasks.t.result" does not exist; tasks.t has: output',
        id="task-member",
    ),
    pytest.param(
        f"id: a\n{TASK}\noutputs: 3", "3:10: `outputs` of a workflow must be a mapping of names to values", id="outputs"
    ),
]


@pytest.mark.parametrize(("text", "problem"), BAD)
def test_invalid_definition_is_reported_with_its_place(text: str, problem: str) -> None:
    """Each mistake gives exactly one line with file, line and column."""
    assert problems(text) == (f"f.yaml:{problem}",)


def test_all_problems_are_reported_at_once() -> None:
    """One run shows everything that is wrong."""
    found = problems("""
        id: UPPER
        tasks:
          - {id: a, type: agregate}
          - {id: a, type: aggregate, output: "{{ tasks.c.output }}", sleep: soon}
        """)

    assert [line.split(":")[1:3] for line in found] == [
        ["1", "5"],
        ["3", "19"],
        ["4", "10"],
        ["4", "38"],
        ["4", "69"],
    ]


def test_json_problems_name_their_path() -> None:
    """A place without lines is a path within the JSON."""
    plain = {"id": "a", "tasks": [{"id": "t", "type": "aggregate", "output": 1, "sleep": "x"}]}

    with pytest.raises(DefinitionError) as caught:
        definition_from_json(plain, "workflows[0]")

    assert tuple(str(finding) for finding in caught.value.findings) == (
        "workflows[0]: tasks[0].sleep: `sleep` of an aggregate task: expected a duration such as 500ms, 5m or 168h",
    )


def test_invalid_yaml_is_a_syntax_problem() -> None:
    """A key written twice is refused where it stands."""
    with pytest.raises(SyntaxProblem, match=r'f.yaml:2:1: key "id" is written twice'):
        parse_definition("id: a\nid: b\n", "f.yaml")


@pytest.mark.parametrize(
    ("value", "place"),
    [
        pytest.param("{{ workflow.input.x }}", "f.yaml:5:13", id="alone"),
        pytest.param("{{ workflow.input.x }} and more", "f.yaml:5:13", id="in-text"),
        pytest.param("{% if true %}a{% endif %}", "f.yaml:5:13", id="statement"),
        pytest.param("[{{ workflow.input.x }}]", "f.yaml:5:14", id="in-list"),
        pytest.param("[1,\n {% if true %}]", "f.yaml:6:2", id="next-line"),
    ],
)
def test_an_unquoted_template_is_named(value: str, place: str) -> None:
    """Braces without quotes are reported as an unquoted template."""
    with pytest.raises(SyntaxProblem) as caught:
        parse_definition(f"id: a\ntasks:\n  - id: t\n    type: aggregate\n    output: {value}\n", "f.yaml")

    assert str(caught.value).splitlines()[0] == f"{place}: put quotes around the template"


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    """The path is named as it was given."""
    with pytest.raises(NotFoundError, match='workflow file ".*missing.yaml" does not exist'):
        load_definition(tmp_path / "missing.yaml")


def test_binary_file_is_rejected_as_workflow(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are an error, not a crash."""
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DefinitionError, match="cannot be read"):
        load_definition(tmp_path / "bytes.yaml")


def test_reading_a_definition_without_templates_imports_nothing_heavy() -> None:
    """Jinja2, Temporal and peewee stay out until they are needed."""
    code = (
        "import sys; from compozy.workflows.read.loader import parse_definition;"
        "parse_definition('id: a\\ntasks: [{id: t, type: aggregate, output: 1}]', 'f');"
        "print(sorted({'jinja2', 'temporalio', 'peewee', 'starlette'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_problems_are_listed_in_the_order_of_lines() -> None:
    text = (
        "id: a\nfoo: 1\ntasks:\n  - {id: t, type: aggregate, output: 1, bar: 1}\n  - {id: t, typ: b}\nbaz: 1\n"
        "outputs: {a: '{{ tasks.x.output }}'}\ninput: 7\n"
    )
    lines = [int(problem.split(":")[1]) for problem in problems(text)]
    assert lines == sorted(lines)
    assert set(lines) == {2, 4, 5, 6, 7, 8}


@pytest.mark.parametrize(("written", "version"), [("0.10", "0.10"), ("'1'", "1"), ("2", "2"), ("null", "0.1.0")])
def test_version_keeps_its_written_text(written: str, version: str) -> None:
    assert parse_definition(f"id: a\nversion: {written}\n{TASK}", "f.yaml").version == version
