"""The report of `compozy rules cover` as one HTML file without scripts, links or pictures."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from compozy.cli.places import relative
from compozy.tables.cells import condition_words, scalar_words
from compozy.tables.table import Row
from compozy.trial.row_coverage import Coverage, CoveredRow, CoveredTable

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --good: #1a7f37; --bad: #c62828; }
body { font: 16px/1.45 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem;
  overflow-wrap: anywhere; }
h1 { font-size: 1.4rem; margin: 0 0 .3rem; }
progress { width: 100%; height: 1rem; accent-color: var(--good); }
details { border: 1px solid var(--line); border-radius: .4rem; margin: .5rem 0; padding: .4rem .7rem; }
summary { cursor: pointer; display: flex; flex-wrap: wrap; gap: .2rem 1rem; justify-content: space-between; }
summary b { font-weight: 600; }
ul { list-style: none; margin: .4rem 0 0; padding: 0; }
li { border-left: .3rem solid var(--good); margin: .4rem 0; padding: .1rem .6rem; }
li.never { border-color: var(--bad); }
.never > b::after { content: " never decided"; color: var(--bad); font-weight: 400; }
small { display: block; opacity: .75; }
""".strip()


def cover_page(coverage: Coverage, summary: str) -> str:
    """Return the page: the total, and each table with its rows; tables with rows that never decided are open."""
    share = f'<progress max="100" value="{coverage.percent}">{coverage.percent} %</progress>'
    sources = f"<p>Sources: {escape(', '.join(coverage.sources) or 'none')}</p>"
    parts = [f"<h1>Rule coverage</h1><p>{escape(summary)}</p>", share, sources, *map(_table, coverage.tables)]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Rule coverage</title>\n<style>\n{_STYLE}\n</style>"
    )
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="en">\n<head>{head}</head>\n<body>\n{body}\n</body>\n</html>'


def _table(covered: CoveredTable) -> str:
    rows, never = len(covered.rows), len(covered.never)
    count = f"<span>{rows - never} of {rows} rows</span>"
    head = f"<summary><b>{escape(covered.table.id)}</b>{count}</summary><small>{escape(covered.table.about)}</small>"
    items = "\n".join(map(_row, covered.rows))
    return f"<details{' open' if never else ''}>{head}\n<ul>\n{items}\n</ul></details>"


def _row(covered: CoveredRow) -> str:
    row = covered.row
    when = _pairs((name, condition_words(condition)) for name, condition in row.when.items()) or "any input"
    by = f"decided in {', '.join(covered.by)}; " if covered.by else ""
    lines = (f"{when} → {_outcome(row)}", row.because, f"{by}{relative(str(row.place))}")
    notes = "".join(f"<small>{escape(line)}</small>" for line in lines if line)
    style = "" if covered.by else ' class="never"'
    return f"<li{style}><b>{escape(row.id)}</b>{notes}</li>"


def _outcome(row: Row) -> str:
    outputs = _pairs((name, scalar_words(value)) for name, value in row.then.items())
    return outputs or str(row.body.get("text", ""))


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name}: {words}" for name, words in pairs)
