"""Format explanations, differences and diagnostics as lines of text; their records hold no secrets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from compozy.base.manual import page, published_page
from compozy.cli.output import styled
from compozy.explain.compare import Difference
from compozy.explain.finding import ExampleCase, FindingExplanation
from compozy.explain.value import DecisionStep, ExplainedInput, Explanation, Given, Miss

_INDENT = "  "


def explanation_lines(found: Explanation) -> Iterator[str]:
    """Yield an explanation: value and origin, what it wins over, and the chain of rows behind it."""
    if found.given is not None:
        yield f"{styled(found.key, 'bold')} = {found.given.text}"
        yield f"  {found.about}"
        yield f"  from {_origin(found.given)}"
        yield from (f"  over {lower.text}, from {_origin(lower)}" for lower in found.shadowed)
    else:
        yield f"{styled(found.key, 'bold')}: {found.about}"
    facts = [f"values {', '.join(found.values)}"] if found.values else []
    facts += [f"default {found.default}"] if found.default else []
    if facts:
        yield f"  {'; '.join(facts)}"
    yield from (f"    {value}: {meaning}" for value, meaning in found.values.items() if meaning)
    if found.names:
        yield f"  set by {', '.join(found.names)} or --set {found.key}=VALUE"
    if found.step is not None:
        yield ""
        yield "decided by" if found.derived else "the rules alone would derive"
        yield from step_lines(found.step, _INDENT)
        yield from miss_lines(found.step)
    if found.read_by:
        yield ""
        yield f"read by {', '.join(found.read_by)}"


def _origin(given: Given) -> str:
    at = f" ({given.rule})" if given.rule else ""
    because = f": {given.because}" if given.because else ""
    return f"{given.origin}{at}{because}"


def step_lines(step: DecisionStep, indent: str) -> Iterator[str]:
    """Yield a decision with the decisions that it comes from, each further to the right."""
    outputs = ", ".join(f"{name} = {_word(value)}" for name, value in step.outputs.items())
    yield f"{indent}{styled(f'{step.table}/{step.row}', 'bold')} ({step.rule}): {outputs}"
    yield f"{indent}  because {step.because}"
    for seen in step.inputs:
        yield from _input_lines(seen, indent + _INDENT)


def _word(value: object) -> str:
    if value is None:
        return "unset"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _input_lines(seen: ExplainedInput, indent: str) -> Iterator[str]:
    wanted = "any value will do" if seen.cell == "-" else f"wants {seen.cell}"
    origin = f", from {_origin(seen.given)}" if seen.given else ""
    yield f"{indent}{seen.column} = {seen.value} ({wanted}): {seen.source}{origin}"
    if seen.step is not None:
        yield from step_lines(seen.step, indent + _INDENT)


def miss_lines(step: DecisionStep) -> Iterator[str]:
    """Yield the rows of every table in the chain that would have decided but for one cell."""
    misses = [(found.table, miss) for found in _steps(step) for miss in found.near_misses]
    if misses:
        yield ""
        yield "near misses"
    for table, miss in dict.fromkeys(misses):
        yield _miss_line(table, miss)


def _miss_line(table: str, miss: Miss) -> str:
    return f"  {table}/{miss.row} ({miss.rule}): {miss.column} is {miss.value}, and it wants {miss.cell}"


def _steps(step: DecisionStep) -> Iterator[DecisionStep]:
    yield step
    for seen in step.inputs:
        if seen.step is not None:
            yield from _steps(seen.step)


def finding_lines(found: FindingExplanation) -> Iterator[str]:
    """Yield the explanation of a finding."""
    yield f"{styled(f'{found.severity}[{found.id}]', found.severity)}: {found.text.rstrip()}"
    yield f"  rule {found.row} ({found.rule})"
    yield from (f"  {name} {value}" for name, value in (("about", found.key), ("hint:", found.hint)) if value)
    yield from (["  see " + published_page(found.docs), "  offline " + page(found.docs)] if found.docs else [])
    yield ""
    yield "reported when"
    yield from (f"  {column} is {wants}: {source}" for column, source, wants in found.when)
    yield ""
    yield from _present_lines(found)
    yield from _example_lines("an example with this finding", found.bad)
    yield from _example_lines("an example without it", found.good)


def _present_lines(found: FindingExplanation) -> Iterator[str]:
    yield f"in this configuration it {'shows' if found.fires else 'does not show'}"
    for finding in found.findings:
        yield f"  {finding.where}: {finding.message.splitlines()[0]}"
    for case in found.cases:
        yield from _case_lines(case)


def _case_lines(case: ExampleCase) -> Iterator[str]:
    if case.at:
        yield f"  at {case.at}"
    for cell in case.cells:
        verdict = "as wanted" if cell.holds else f"wanted {cell.wants}"
        yield f"  {_INDENT if case.at else ''}{cell.column} is {cell.saw} ({verdict})"


def _example_lines(title: str, text: str) -> Iterator[str]:
    yield ""
    yield title
    yield from (f"  {line}" for line in text.splitlines() or ["# an empty configuration"])


def difference_lines(left: str, right: str, differences: Sequence[Difference]) -> Iterator[str]:
    """Yield both values of everything that differs, with who gave each."""
    yield f"--- {left}"
    yield f"+++ {right}"
    for found in differences:
        kind = " (component)" if found.kind == "component" else ""
        yield styled(found.key, "bold") + kind
        yield styled(f"  - {_side(found.left)}", "error")
        yield styled(f"  + {_side(found.right)}", "ok")
    yield ""
    yield f"{len(differences)} differ" if len(differences) > 1 else "1 differs"


def _side(given: Given | None) -> str:
    return f"{given.text}  from {_origin(given)}" if given else "does not exist"


def diagnostics_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield diagnostics as `name: value` lines."""
    yield from (f"{name}: {found[name] or 'none'}" for name in ("compozy", "python", "platform", "directory", "file"))
    for source in found["sources"]:
        files = f" ({', '.join(source['files'])})" if source["files"] else ""
        yield f"source {source['kind']}{files}: {source['settings']} settings, {source['problems']} problems"
    rules = found["rules"]
    yield f"rules: {rules['tables']} tables, {rules['rows']} rows, {rules['settings']} settings, {rules['digest'][:16]}"
    yield f"rule packs: {', '.join(rules['packs']) or 'none'}"
    yield from (f"machine {name}: {value}" for name, value in found["machine"].items())
    yield f"mode: {found['mode']}"
    yield from (f"component {name}: {part['mode']}, {part['driver']}" for name, part in found["components"].items())
    yield from _given_lines(found["given"].items())
    yield f"findings: {len(found['findings'])}"
    yield ""


def _given_lines(given: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterator[str]:
    for path, value in given:
        origin = value["origin"]
        where = ":".join(str(origin[name]) for name in ("file", "line", "column") if name in origin)
        named = " ".join(part for part in (origin["kind"], origin.get("name"), where) if part)
        yield f"given {path}: {value.get('text', value['value'])} ({named})"
