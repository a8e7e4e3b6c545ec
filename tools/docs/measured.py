"""The page of the stored benchmarks, its pictures, and the comparison in the README."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from benchmarks.measurement import Measurement
from benchmarks.results import Result

TITLES = {
    "peers": "Beside other engines",
    "start": "Start and commands",
    "throughput": "Throughput",
    "configuration": "Configuration libraries",
    "tables": "Verification of rule tables",
    "testing": "Tests in memory and against PostgreSQL",
    "vectors": "Vector stores",
}
_EACH = 1_000  # records of one measured write
BEGIN, END = "<!-- measured beside other engines: begin -->\n", "<!-- measured beside other engines: end -->\n"
_HEAD = """# Benchmarks

Each value stands beside a reference that was measured in the same run. Compare the ratios: a busy machine slows both.
The bars show the ratio on a logarithmic scale; the line is the reference. Times are better to the left of it, rates to
the right. `make bench` and `make bench-peers` measure on your machine, print how the ratios differ from the stored run,
and store the new one; `make generate` writes this page from it.
"""
_LABEL, _SPAN, _LINE, _TOP = 400, 260, 22, 40
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#1f2933}.title{font-size:15px;font-weight:600}"
    ".name{text-anchor:end}.bar{fill:#3b6ea5}.one{stroke:#7b8794;stroke-dasharray:3 3}"
)


def measured_files(results: Sequence[Result]) -> Mapping[str, str]:
    """Return the page and its pictures by their paths from the root of the repository."""
    pictures = {f"docs/images/benchmark-{result.name}.svg": bars_svg(result) for result in results}
    return {"docs/benchmarks.md": _HEAD + "".join(map(_section, results)), **pictures}


def _section(result: Result) -> str:
    rows = [
        f"| {row.name} | {_value(row.value, row.unit)} | {row.reference or '-'} | "
        + (f"{_value(row.reference_value, row.unit)} | {row.ratio:.2g} |" if row.reference else "- | - |")
        for row in result.measurements
    ]
    title = TITLES[result.name]
    table = "\n".join(["| what | value | reference | value | ratio |", "|---|---|---|---|---|", *rows])
    picture, note = f"![{title}](images/benchmark-{result.name}.svg)", ""
    if result.name == "vectors":
        note = f"{_overhead(result)}\n\n"
    return f"\n## {title}\n\n{note}{picture}\n\n{table}\n\n{_where(result)}\n"


def _overhead(result: Result) -> str:
    """Return how the limit for vector stores is meant, and which operations are farthest beyond 20 %."""
    largest = []
    for kind, records in (("search", 1), (f"write {_EACH:,}", _EACH)):
        rows = [row for row in result.measurements if row.name.endswith(f": {kind}")]
        # An overhead within 20 % is allowed, however long it takes.
        most = max(rows, key=lambda row: row.value - 1.2 * row.reference_value)
        overhead = (most.value - most.reference_value) / records
        largest.append(f"{overhead:.2g} ms ({most.name.partition(':')[0]}, ratio {most.ratio:.2g})")
    return (
        "The overhead of one operation may be 20 % or 1 ms: of a search, or of the write of one record, of which the\n"
        f"table has {_EACH:,}. Farthest beyond 20 % are {largest[0]} for a search,\n"
        f"and {largest[1]} for a record. Both are searched after many searches\n"
        "for other vectors, because the first ones in new files are slower."
    )


def _where(result: Result) -> str:
    machine = result.machine
    return (
        f"{result.date}, commit `{result.commit}`; {machine.processor}, {machine.cores} cores, {machine.system}, "
        f"Python {machine.python}, load average {machine.load:g}."
    )


def _value(value: float, unit: str) -> str:
    return f"{value:.2g} {unit}" if value < 100 else f"{value:,.0f} {unit}"


def bars_svg(result: Result) -> str:
    """Return a picture with a bar from the reference to the ratio of each measurement, on a logarithmic scale."""
    rows = [row for row in result.measurements if row.reference and row.ratio > 0]
    most = max([1.0, *(abs(math.log10(row.ratio)) for row in rows)])
    middle = _LABEL + _SPAN / 2
    width, height = _LABEL + _SPAN + 60, _TOP + _LINE * len(rows) + 12
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(TITLES[result.name])}">',
        f'<style>{_STYLE}</style><rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text class="title" x="14" y="22">{escape(TITLES[result.name])}: ratio to the reference</text>',
        f'<path class="one" d="M{middle:.0f} {_TOP - 6}V{height - 6}"/>',
        *(_bar(row, _TOP + _LINE * number, middle, most) for number, row in enumerate(rows)),
        "</svg>\n",
    ])  # fmt: skip


def _bar(row: Measurement, y: int, middle: float, most: float) -> str:
    length = math.log10(row.ratio) / most * (_SPAN / 2 - 34)
    name = row.name if len(row.name) < 60 else row.name[:58] + "..."
    left, width = middle + min(length, 0), max(abs(length), 1)
    edge = f'x="{middle + length + 4:.0f}"' if length >= 0 else f'x="{middle + length - 4:.0f}" style="text-anchor:end"'
    return (
        f'<text class="name" x="{_LABEL - 10}" y="{y + 13}">{escape(name)}</text>'
        f'<rect class="bar" x="{left:.1f}" y="{y + 3}" width="{width:.1f}" height="13"/>'
        f'<text {edge} y="{y + 13}">{row.ratio:.2g}</text>'
    )


def with_comparison(readme: str, peers: Result) -> str:
    """Return the README with the comparison of `peers` between its two marks."""
    first = {row.name.partition(": ")[0]: row for row in peers.measurements if row.unit == "s"}
    rate = {row.name.rpartition(",")[0]: row for row in peers.measurements if row.unit == "/s"}
    rows = [f"| {name} | {_cell(first[name])} | {_cell(rate[name])} |" for name in first]
    head = ["| engine | first result | ratio | rate | ratio |", "|---|---|---|---|---|"]
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    table = "\n".join([*head, *rows, "", f"Medians of three rounds: {_where(peers)}", ""])
    return f"{before}{BEGIN}{table}{END}{after}"


def _cell(row: Measurement) -> str:
    return f"{_value(row.value, row.unit)} | {row.ratio:.2g}"
