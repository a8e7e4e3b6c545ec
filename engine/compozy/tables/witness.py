"""Write witnesses and proposals as YAML that a user can paste.

Facts of the machine, views and decisions cannot be set in a file; they stand in comment lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import yaml

from compozy.tables.cells import condition_data, scalar_words
from compozy.tables.table import ColumnSource, Condition, Scalar

Spell: TypeAlias = Callable[[ColumnSource, Scalar], object]

# The kinds of sources whose values a configuration file holds.
_IN_FILES = ("setting", "item", "input")
_FLAG = "# flag: --set "
_DUMPER: object = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def witness_yaml(
    assignment: Iterable[tuple[ColumnSource, Scalar]],
    spell: Spell = lambda source, value: value,
    for_each: str | None = None,
) -> str:
    """Write settings as a configuration; what is unset is left out.

    `spell` returns a value as a configuration file contains it, in plain data. The list `for_each` has an element, also
    one without fields.

    >>> print(witness_yaml([(ColumnSource("setting", "redis.mode"), "memory"), (ColumnSource("machine", "cpus"), 2)]))
    redis:
      mode: memory
    # machine: cpus = 2
    >>> print(witness_yaml([(ColumnSource("setting", "mode"), "memory")], for_each="caches"))
    caches:
    - {}
    mode: memory
    """
    document: dict[str, object] = {}
    if for_each is not None:
        _list_element(document, for_each)
    comments = []
    for source, value in assignment:
        written = source.kind in _IN_FILES and source.view is None
        if value is None and source.kind in _IN_FILES:
            continue
        if not written or not _put(document, source, spell(source, value)):
            comments.append(f"# {_comment(source, value)}")
    body = _dump(document, flow=False).splitlines() if document else []
    return "\n".join([*body, *comments]) or "# nothing is set"


def witness_flags(witness: str) -> dict[str, str]:
    """Return the values that a witness gives on the command line, by setting.

    >>> witness_flags(witness_yaml([(ColumnSource("flag", "a.b"), "x=y")]))
    {'a.b': 'x=y'}
    """
    lines = (line.removeprefix(_FLAG) for line in witness.splitlines() if line.startswith(_FLAG))
    return dict(line.encode().decode("unicode_escape").split("=", 1) for line in lines)


def _comment(source: ColumnSource, value: Scalar) -> str:
    if source.kind == "flag":
        # The form that `witness_flags` reads.
        return f"flag: --set {source.ref}={str(value).encode('unicode_escape').decode()}"
    ref = f"{source.each}[].{source.ref}" if source.each else source.ref
    part = f".{source.output}" if source.output else ""
    about = f"{source.kind}: {ref}{part}" if source.view is None else f"view: {source.view} of {ref}"
    return f"{about} = {scalar_words(value)}"


def _put(document: dict[str, object], source: ColumnSource, value: object) -> bool:
    """Nest a value by its path; return True if the path was free."""
    inner = document
    if source.each is not None:
        element = _list_element(document, source.each)
        if element is None:
            return False
        inner = element
    return _nest(inner, source.ref.split("."), value)


def _list_element(document: dict[str, object], path: str) -> dict[str, object] | None:
    *parents, last = path.split(".")
    inner = _descend(document, parents)
    elements = inner.setdefault(last, [{}]) if inner is not None else None
    return elements[0] if isinstance(elements, list) else None


def _nest(document: dict[str, object], path: list[str], value: object) -> bool:
    inner = _descend(document, path[:-1])
    if inner is None or path[-1] in inner:
        return False
    inner[path[-1]] = value
    return True


def _descend(document: dict[str, object], path: list[str]) -> dict[str, object] | None:
    inner: Any = document
    for part in path:
        inner = inner.setdefault(part, {})
        if not isinstance(inner, dict):
            return None
    return inner if isinstance(inner, dict) else None


def row_yaml(row_id: str, when: Mapping[str, Condition], then: Mapping[str, Scalar], because: str) -> str:
    """Write a row in one line, ready to be put under `rows:`.

    >>> row_yaml("new", {"mode": Condition.of(["ci"])}, {"kept": False}, "why")
    '- {id: new, when: {mode: ci}, then: {kept: false}, because: why}'
    """
    cells = {name: condition_data(condition) for name, condition in when.items()}
    row = {"id": row_id, "when": cells, "then": dict(then), "because": because}
    return "- " + _dump(row, flow=True)


def cell_yaml(condition: Condition) -> str:
    """Write a condition in flow style, as the value of a cell.

    >>> cell_yaml(Condition.of(["a", None])), cell_yaml(Condition.of(["b"]))
    ('[a, unset]', 'b')
    """
    # Dumped as a list and cut out of its brackets, because YAML ends a lone scalar with a line `...`.
    return _dump([condition_data(condition)], flow=True)[1:-1]


def _dump(data: object, *, flow: bool) -> str:
    # So wide that no line is folded: a proposal is pasted as one line.
    text: str = yaml.dump(
        data, Dumper=_DUMPER, sort_keys=False, default_flow_style=flow, width=1_000_000, allow_unicode=True
    )
    return text.strip()
