"""Show tables to people: as aligned text, and as a graph of which table reads which."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from compozy.graph.graph import Edge, Graph, GraphNode
from compozy.tables.cells import condition_words, scalar_words
from compozy.tables.table import Row, Scalar, Table


def table_text(table: Table) -> str:
    """Write a table as aligned text; `-` is any value.

    The head names the table, its hit policy and where each input comes from.
    """
    names = [column.name for column in table.columns]
    outputs = list(table.outputs)
    findings = any(row.body for row in table.rows)
    head = ["row", *names, *(f"=> {name}" for name in outputs), *(["finding"] if findings else []), "because"]
    rows = [_row_cells(row, names, outputs, findings) for row in table.rows]
    if not any(row.because for row in table.rows):
        head, rows = head[:-1], [cells[:-1] for cells in rows]
    return "\n".join([*_head_lines(table), "", *_aligned([head, *rows])])


def _head_lines(table: Table) -> list[str]:
    each = f", for each of {table.for_each}" if table.for_each else ""
    lines = [f"{table.id}  ({table.hit}{each}; {table.place.file}:{table.place.line})"]
    lines += [table.about] if table.about else []
    width = max((len(column.name) for column in table.columns), default=0)
    lines += [f"  {column.name:<{width}}  {column.source}" for column in table.columns]
    return lines + [f"  => {output} sets {target}" for output, target in table.sets.items()]


def _row_cells(row: Row, names: Sequence[str], outputs: Sequence[str], findings: bool) -> list[str]:
    finding = f"{row.body.get('severity', '')}: {row.body.get('text', '')}" if row.body else ""
    return [
        row.id,
        *(condition_words(row.condition(name)) for name in names),
        *(_output_words(row.then[name]) if name in row.then else "" for name in outputs),
        *([finding] if findings else []),
        row.because,
    ]


def _output_words(value: Scalar) -> str:
    return "null" if value is None else scalar_words(value)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[number]) for row in rows) for number in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


def table_graph(tables: Iterable[Table], *, inputs: bool = False) -> Graph:
    """Build the graph of which table reads which; with `inputs` also settings and machine facts."""
    tables = tuple(tables)
    nodes = {table.id: GraphNode(table.id, table.id) for table in tables}
    edges: dict[Edge, None] = {}
    for table in tables:
        for column in table.columns:
            source = column.source
            if source.kind == "decision" and source.ref in nodes:
                edges[Edge(source.ref, table.id, source.output or "")] = None
            elif inputs:
                ref = f"{source.each}[].{source.ref}" if source.each else source.ref
                nodes.setdefault(f"{source.kind} {ref}", GraphNode(f"{source.kind} {ref}", ref, "round"))
                edges[Edge(f"{source.kind} {ref}", table.id, source.view or "")] = None
    return Graph("Rule tables", tuple(nodes.values()), tuple(edges))
