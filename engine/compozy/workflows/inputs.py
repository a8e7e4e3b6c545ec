"""Make the input of an execution from what was given and what the definition declares.

What comes in: a definition and a JSON object. What goes out: the complete input, or every problem at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from compozy.errors import UsageError
from compozy.settings.suggest import closest
from compozy.workflows.definition import Definition
from compozy.workflows.plain import why_not_plain


class InputError(UsageError):
    """An input that the workflow does not take; `problems` holds each reason."""

    id = "workflow.input"

    def __init__(self, workflow: str, problems: list[str]) -> None:
        super().__init__(f'input of workflow "{workflow}": ' + "; ".join(problems))
        self.workflow = workflow
        self.problems = tuple(problems)


def complete_input(definition: Definition, given: Any) -> dict[str, Any]:
    """Return `given` with defaults for what it leaves out.

    Raises:
        InputError: it is not an object, names what is not declared, or lacks what is required.
    """
    if not isinstance(given, Mapping):
        raise InputError(definition.id, ["expected an object of names and values"])
    problems = [*_undeclared(definition, given), *_missing(definition, given), *_unusable(given)]
    if problems:
        raise InputError(definition.id, problems)
    defaults = {item.name: item.default for item in definition.inputs or ()}
    return defaults | dict(given)


def _undeclared(definition: Definition, given: Mapping[str, Any]) -> Iterator[str]:
    if definition.inputs is None:
        return
    names = [item.name for item in definition.inputs]
    for name in given:
        if name not in names:
            meant = closest(str(name), names)
            advice = f'did you mean "{meant}"?' if meant else f"declared: {', '.join(names) or 'none'}"
            yield f'"{name}" is not declared; {advice}'


def _missing(definition: Definition, given: Mapping[str, Any]) -> Iterator[str]:
    for item in definition.inputs or ():
        if item.required and item.name not in given:
            yield f'"{item.name}" is required'


def _unusable(given: Mapping[str, Any]) -> Iterator[str]:
    reason = why_not_plain(dict(given))
    if reason is not None:
        yield reason
