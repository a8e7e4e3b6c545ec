"""Lexical scopes: the names that templates see at one point of a definition.

The static check binds declarations and a run binds values, both through `block` and `finish`, so that a name that the
check accepts exists while it runs.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, MutableMapping, Set
from dataclasses import field
from typing import Any

from compozy.base.record import dataclass


@dataclass(frozen=True, slots=True)
class Scope:
    """The names that are bound at one point.

    `about` holds `id`, `version`, `execution_id` and `input`, with None for an input of undeclared names; `tasks` the
    tasks that have ended, of this block and of the blocks around it; `local` what the block itself binds.
    """

    about: Mapping[str, Any]
    tasks: MutableMapping[str, object] = field(default_factory=dict)
    local: Mapping[str, object] = field(default_factory=dict)

    def block(self, **local: object) -> Scope:
        """Return the scope of a block inside: it sees everything here, and what ends in it is not seen here.

        >>> outer = Scope({"input": {}})
        >>> outer.finish("a", 1)
        >>> inner = outer.block(item="x")
        >>> inner.finish("b", 2)
        >>> sorted(inner.tasks), sorted(outer.tasks), inner.names()["item"]
        (['a', 'b'], ['a'], 'x')
        """
        return Scope(self.about, ChainMap({}, self.tasks), {**self.local, **local})

    def finish(self, task_id: str, output: object) -> None:
        """Bind the output of a task for what follows it."""
        self.tasks[task_id] = {"output": output}

    def names(self) -> dict[str, object]:
        """Return the root names of templates with their values, all of them JSON."""
        tasks = self.tasks if isinstance(self.tasks, dict) else dict(self.tasks)
        return {**self.local, "workflow": self.about, "input": self.about["input"], "tasks": tasks}

    @property
    def inputs(self) -> Set[str] | None:
        """The names of the inputs; None where any name may be one."""
        given: Mapping[str, object] | None = self.about["input"]
        return None if given is None else given.keys()
