"""Complete the input of an execution with the defaults of its definition, and check it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import islice

from compozy.base.findings import Collector, Finding, TooManyFindingsError
from compozy.base.place import Place
from compozy.errors import UsageError
from compozy.workflows.model.definition import MAX_PROBLEM_LENGTH, MAX_PROBLEMS, Definition
from compozy.workflows.model.input_types import fits
from compozy.workflows.model.plain import why_not_plain

_LISTED = 20
_INPUT = Place("input", 0, 0)


class InputError(UsageError):
    """An input that the workflow does not take; the `key` of each finding is a name in it."""

    id = "workflow.input"

    def __init__(self, workflow: str, findings: Sequence[Finding]) -> None:
        super().__init__(f'input of workflow "{workflow}": ' + "; ".join(finding.message for finding in findings))
        self.workflow = workflow
        self.findings = tuple(findings)


class InputLimitError(InputError):
    """An input that is too large or nested too deeply, or holds what JSON or Unicode cannot express."""


def complete_input(definition: Definition, given: object) -> dict[str, object]:
    """Return `given` with defaults for what it leaves out.

    Raises:
        InputError: it is not an object, or names are undeclared, missing or of other types; at most 100 findings.
        InputLimitError: it is too large, nested too deeply or not Unicode.
    """
    if not isinstance(given, Mapping):
        raise InputError(definition.id, [_whole("expected an object of names and values")])
    found = Collector(most=MAX_PROBLEMS, longest=MAX_PROBLEM_LENGTH)
    with suppress(TooManyFindingsError):
        _check_names(definition, given, found)
        _check_values(definition, given, found)
    found.raise_if_any(lambda findings: InputError(definition.id, findings))
    reason = why_not_plain(dict(given))
    if reason is not None:
        raise InputLimitError(definition.id, [_whole(reason)])
    defaults = {item.name: item.default for item in definition.inputs or ()}
    return defaults | dict(given)


def _whole(reason: str) -> Finding:
    return Finding.at(InputError.id, reason, _INPUT)


def _check_names(definition: Definition, given: Mapping[str, object], found: Collector) -> None:
    if definition.inputs is None:
        return
    names = {item.name: None for item in definition.inputs}
    listed = f"{', '.join(islice(names, _LISTED)) or 'none'}{', ...' if len(names) > _LISTED else ''}"
    for name in given:
        if name not in names:
            meant = found.suggestions.closest(str(name), names)
            advice = f'did you mean "{meant}"?' if meant else f"declared: {listed}"
            found.add(InputError.id, f'"{name}" is not declared; {advice}', _INPUT, key=str(name))
    for item in definition.inputs:
        present = not item.required or item.name in given
        found.require(present, InputError.id, f'"{item.name}" is required', _INPUT, key=item.name)


def _check_values(definition: Definition, given: Mapping[str, object], found: Collector) -> None:
    for item in definition.inputs or ():
        holds = item.name not in given or fits(given[item.name], item.type)
        found.require(holds, InputError.id, f'"{item.name}" must be of the type {item.type}', _INPUT, key=item.name)
