"""Decision diagrams: functions of several variables in which equal parts are one object.

A diagram is a `Node`, which branches on one variable, or the value that the function has. `None` is the value of what
is not feasible; it absorbs every other value. Variables are known by their level, and levels rise from the root.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from compozy.tables.cover import OutOfStepsError
from compozy.tables.observation import Assignment

# A node or a value.
Diagram: TypeAlias = Any

# Below every variable.
_VALUE_LEVEL = 1 << 62


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

        def visit(part: Diagram) -> Diagram:
            if part.__class__ is DiagramNode:
                children = []
                for child in part.children:
                    children.append(known[child] if child in known else visit(child))
                found = self.node(part.level, tuple(children))
            else:
                found = convert(part)
            known[part] = found
            return found

        return None if diagram is None else visit(diagram)

    def combined(self, first: Diagram, second: Diagram, join: Callable[[object, object], Hashable]) -> Diagram:
        """Return the function whose values are those of two functions, joined.

        Raises:
            OutOfStepsError: more steps would be necessary than an operation may take.
        """
        known: dict[tuple[Diagram, Diagram], Diagram] = {}

        def visit(pair: tuple[Diagram, Diagram]) -> Diagram:
            one, other = pair
            if one is None or other is None:
                found = None
            elif one.__class__ is not DiagramNode and other.__class__ is not DiagramNode:
                found = join(one, other)
            else:
                if len(known) >= self._most:
                    raise OutOfStepsError
                level = one.level if one.__class__ is DiagramNode else _VALUE_LEVEL
                below = other.level if other.__class__ is DiagramNode else _VALUE_LEVEL
                pairs: Iterable[tuple[Diagram, Diagram]]
                if level == below:
                    pairs = zip(one.children, other.children, strict=True)
                elif level < below:
                    pairs = [(child, other) for child in one.children]
                else:
                    level, pairs = below, [(one, child) for child in other.children]
                children = []
                for part in pairs:
                    children.append(known[part] if part in known else visit(part))
                found = self.node(level, tuple(children))
            known[pair] = found
            return found

        return visit((first, second))


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
