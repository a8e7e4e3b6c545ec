"""Collect what is wrong with rules, so that all of it is reported at once.

What comes in: kinds, places and messages. What goes out: reports, or one `RuleTableError` with all of them as
text. It must not decide what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from compozy.base.place import Place
from compozy.errors import RuleTableError
from compozy.tables.report import Report

WARNINGS = frozenset({"unproduced", "unused-driver", "free-input"})
_LOCATED = re.compile(r"(.+?):(\d+):(\d+): (.*)\Z", re.DOTALL)


@dataclass(slots=True)
class Faults:
    """A growing list of reports."""

    reports: list[Report] = field(default_factory=list)

    def add(self, kind: str, message: str, *places: Place, table: str = "") -> None:
        """Note one fault; the first place is where it is."""
        self.reports.append(Report(kind, message, table, places))

    def require(self, holds: object, kind: str, message: str, *places: Place) -> bool:
        """Note a fault unless something holds; tell whether it does."""
        if not holds:
            self.add(kind, message, *places)
        return bool(holds)

    def take(self, kind: str, error: RuleTableError) -> None:
        """Note every problem of an error."""
        self.reports += [_report(kind, problem) for problem in error.problems]

    def raise_if_any(self) -> None:
        """Report everything noted, warnings aside.

        Raises:
            RuleTableError: a fault was noted.
        """
        refuse(self.reports)


def _report(kind: str, problem: str) -> Report:
    found = _LOCATED.match(problem)
    if found is None:
        return Report(kind, problem, "", ())
    file, line, column, reason = found.groups()
    return Report(kind, reason, "", (Place(file, int(line), int(column)),))


def severity(report: Report) -> str:
    """Return `error`, or `warning` for what does not keep rules from being used."""
    return "warning" if report.kind in WARNINGS or not report.proven else "error"


def refuse(reports: Iterable[Report]) -> None:
    """Raise what keeps rules from being used.

    Raises:
        RuleTableError: one of the reports is an error; it carries the text of each.
    """
    stopping = [report for report in reports if severity(report) == "error"]
    if stopping:
        raise RuleTableError(["\n".join(report_lines(report)) for report in stopping])


def report_lines(report: Report) -> Iterator[str]:
    """Yield a report as lines: place, kind and message, further places, witness and proposal."""
    at = f"{report.places[0]}: " if report.places else ""
    extent = f" ({report.extent})" if report.extent else ""
    yield f"{at}{report.kind}: {report.message}{extent}"
    yield from (f"    and {place}" for place in report.places[1:])
    if report.witness is not None:
        yield "    for example:"
        yield from (f"        {line}" for line in report.witness.splitlines())
    if report.proposal is not None:
        yield "    a row that would mend it:"
        yield from (f"        {line}" for line in report.proposal.splitlines())
