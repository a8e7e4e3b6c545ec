"""Complete the input of an execution with the defaults of its definition, and check it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Any

from compozy.base.suggest import Suggestions
from compozy.errors import UsageError
from compozy.workflows.model.definition import MAX_PROBLEM_LENGTH, MAX_PROBLEMS, Definition
from compozy.workflows.model.input_types import fits
from compozy.workflows.model.plain import why_not_plain

_LISTED = 20


class InputError(UsageError):
    """An input that the workflow does not take; `problems` holds each reason."""

    id = "workflow.input"

    def __init__(self, workflow: str, problems: list[str]) -> None:
        super().__init__(f'input of workflow "{workflow}": ' + "; ".join(problems))
        self.workflow = workflow
        self.problems = tuple(problems)


class InputLimitError(InputError):
    """An input that is too large or nested too deeply, or holds what JSON or Unicode cannot express."""


def complete_input(definition: Definition, given: Any) -> dict[str, Any]:
    """Return `given` with defaults for what it leaves out.

    Raises:
        InputError: it is not an object, or names are undeclared, missing or of other types; at most 100 problems.
        InputLimitError: it is too large, nested too deeply or not Unicode.
    """
    if not isinstance(given, Mapping):
        raise InputError(definition.id, ["expected an object of names and values"])
    found = chain(_undeclared(definition, given), _missing(definition, given), _unfit(definition, given))
    problems = list(islice(found, MAX_PROBLEMS))
    if problems:
        raise InputError(definition.id, problems)
    reason = why_not_plain(dict(given))
    if reason is not None:
        raise InputLimitError(definition.id, [reason])
    defaults = {item.name: item.default for item in definition.inputs or ()}
    return defaults | dict(given)


def _undeclared(definition: Definition, given: Mapping[str, Any]) -> Iterator[str]:
    if definition.inputs is None:
        return
    names = {item.name: None for item in definition.inputs}
    listed = f"{', '.join(islice(names, _LISTED)) or 'none'}{', ...' if len(names) > _LISTED else ''}"
    suggestions = Suggestions()
    for name in given:
        if name not in names:
            meant = suggestions.closest(str(name), names)
            advice = f'did you mean "{meant}"?' if meant else f"declared: {listed}"
            yield f'"{name}" is not declared; {advice}'[:MAX_PROBLEM_LENGTH]


def _unfit(definition: Definition, given: Mapping[str, Any]) -> Iterator[str]:
    for item in definition.inputs or ():
        if item.name in given and not fits(given[item.name], item.type):
            yield f'"{item.name}" must be of the type {item.type}'


def _missing(definition: Definition, given: Mapping[str, Any]) -> Iterator[str]:
    for item in definition.inputs or ():
        if item.required and item.name not in given:
            yield f'"{item.name}" is required'
