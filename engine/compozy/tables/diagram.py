"""Decision diagrams: functions of several variables in which equal parts are one object.

A diagram is a `Node`, which branches on one variable, or the value that the function has. `None` is the value of what
is not feasible; it absorbs every other value. Variables are known by their level, and levels rise from the root.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any, TypeAlias

from compozy.tables.cover import OutOfStepsError
from compozy.tables.observation import Assignment

# A node or a value.
Diagram: TypeAlias = Any
Join: TypeAlias = Callable[[Any, Any], Hashable]


class DiagramNode:
    """A branch on the variable of a level: one child function for each choice."""

    __slots__ = ("children", "level")

    def __init__(self, level: int, children: tuple[Diagram, ...]) -> None:
        self.level = level
        self.children = children


class Diagrams:
    """Builds diagrams; each operation takes at most `most` steps."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._nodes: dict[int, dict[tuple[Diagram, ...], DiagramNode]] = defaultdict(dict)

    def node(self, level: int, children: tuple[Diagram, ...]) -> Diagram:
        """Return the function that branches on a variable; not feasible if the variable has no choices."""
        if not children:
            return None
        first = children[0]
        if children.count(first) == len(children):
            return first
        nodes = self._nodes[level]
        found = nodes.get(children)
        if found is None:
            found = nodes[children] = DiagramNode(level, children)
        return found

    def mapped(self, diagram: Diagram, convert: Callable[[Any], Hashable]) -> Diagram:
        """Return a function with every value converted."""
        known: dict[Diagram, Diagram] = {None: None}

        def visit(part: DiagramNode) -> Diagram:
            children = []
            for child in part.children:
                if child not in known:
                    known[child] = visit(child) if child.__class__ is DiagramNode else convert(child)
                children.append(known[child])
            return self.node(part.level, tuple(children))

        return visit(DiagramNode(0, (diagram,)))

    def combined(self, first: Diagram, second: Diagram, join: Join) -> Diagram:
        """Return the function whose values are those of two functions, joined.

        Raises:
            OutOfStepsError: more steps would be necessary than an operation may take.
        """
        return self._combined(first, second, join, self.node)

    def joined_values(self, first: Diagram, second: Diagram, join: Join) -> list[Any]:
        """Return the different feasible values of two functions, joined, in the order of the choices that lead there.

        The joined function itself is not built.

        Raises:
            OutOfStepsError: more steps would be necessary than an operation may take.
        """
        found: dict[Any, None] = {}
        self._combined(first, second, lambda one, other: found.setdefault(join(one, other)), lambda *_: None)
        return [value for value in found if value is not None]

    def _combined(
        self, first: Diagram, second: Diagram, join: Join, node: Callable[[int, tuple[Diagram, ...]], Diagram]
    ) -> Diagram:
        known: dict[tuple[Diagram, Diagram], Diagram] = {}
        most = self._most

        def visit(level: int, pairs: Iterable[tuple[Diagram, Diagram]]) -> Diagram:
            children = []
            for pair in pairs:
                found = known.get(pair, known)
                if found is known:
                    if len(known) >= most:
                        raise OutOfStepsError
                    one, other = pair
                    if one is None or other is None:
                        found = None
                    elif one.__class__ is not DiagramNode:
                        if other.__class__ is not DiagramNode:
                            found = join(one, other)
                        else:
                            found = visit(other.level, zip(repeat(one), other.children))
                    elif other.__class__ is not DiagramNode or one.level < other.level:
                        found = visit(one.level, zip(one.children, repeat(other)))
                    elif one.level == other.level:
                        found = visit(one.level, zip(one.children, other.children, strict=True))
                    else:
                        found = visit(other.level, zip(repeat(one), other.children))
                    known[pair] = found
                children.append(found)
            return node(level, tuple(children))

        return visit(0, ((first, second),))


def values_of(diagram: Diagram) -> list[Any]:
    """Return the different feasible values of a function, in the order of the choices that lead there."""
    found: dict[Diagram, None] = {}

    def visit(parts: Sequence[Diagram]) -> None:
        for part in parts:
            if part not in found:
                found[part] = None
                if part.__class__ is DiagramNode:
                    visit(part.children)

    visit((diagram,))
    return [part for part in found if part is not None and part.__class__ is not DiagramNode]


def assignments(diagram: Diagram, members: Mapping[int, Sequence[Assignment]]) -> dict[Any, Assignment]:
    """Return for each feasible value settings that lead there; `members` holds by level those of each choice.

    Variables that make no difference are left out.
    """
    known: dict[Diagram, dict[object, Assignment]] = {None: {}}

    def visit(part: Diagram) -> dict[object, Assignment]:
        if part not in known:
            found: dict[object, Assignment] = {} if part.__class__ is DiagramNode else {part: ()}
            pairs = zip(part.children, members[part.level], strict=True) if part.__class__ is DiagramNode else ()
            for child, assignment in pairs:
                for value, others in visit(child).items():
                    if value not in found:
                        found[value] = assignment + others
            known[part] = found
        return known[part]

    return visit(diagram)
