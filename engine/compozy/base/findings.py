"""Findings: what is wrong at a place, and the collector that gathers them so that all are reported at once.

Errors carry findings as records; text is rendered from them where it is printed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from compozy.base.place import NOWHERE, Origin, Place
from compozy.base.record import dataclass
from compozy.base.suggest import Suggestions

ERROR = "error"
WARNING = "warning"
_UNKNOWN = Place("", 0, 0)


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evidence of verification for a finding of a rule table.

    `witness` is a YAML snippet that shows the fault when it is used as a configuration, `proposal` a row that fills
    the gap. `shown` of `total` findings of this id and table are listed; `exact` is false where the search stopped
    at `total`.
    """

    witness: str | None = None
    proposal: str | None = None
    shown: int = 1
    total: int = 1
    exact: bool = True

    @property
    def extent(self) -> str:
        """`first N of M` where not all are listed, else empty.

        >>> Evidence(shown=100, total=400, exact=False).extent
        'first 100 of at least 400'
        """
        if self.shown == self.total and self.exact:
            return ""
        return f"first {self.shown} of {'' if self.exact else 'at least '}{self.total}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong; `where` is its place or source, `key` the setting, table or path that it is about.

    `id` is stable; `severity` is `error` or `warning`; `message` may have several lines, of which the first is fixed.
    `row` is `table/row` of the rule behind it and `rule` the place of that; `also` are further places, `docs` the page
    about it.
    """

    id: str
    severity: str
    message: str
    hint: str = ""
    key: str = ""
    where: Origin = NOWHERE
    row: str = ""
    rule: Place | None = None
    docs: str = ""
    also: tuple[Place, ...] = ()
    evidence: Evidence | None = None

    @classmethod
    def at(
        cls, id_: str, message: str, *places: Place, key: str = "", hint: str = "", severity: str = ERROR
    ) -> Finding:
        """Return a finding at the first of `places`; line 0 stands for a document without lines."""
        return cls(id_, severity, message, hint, key, _origin(*places[:1]), also=places[1:])

    @property
    def places(self) -> tuple[Place, ...]:
        """The place, if it is one in a text, and the further ones."""
        return (*([self.where.place] if self.where.place else []), *self.also)

    @property
    def witness(self) -> str | None:
        """Settings that show the fault, as YAML, if verification found some."""
        return self.evidence.witness if self.evidence else None

    @property
    def proposal(self) -> str | None:
        """A row that fills the gap, as YAML, if verification proposes one."""
        return self.evidence.proposal if self.evidence else None

    def __str__(self) -> str:
        """Return `place: message`, or `name: key: message` where no line is known."""
        named = [str(self.where.place)] if self.where.place else [self.where.name, self.key if self.where.name else ""]
        return ": ".join(part for part in (*named, self.message) if part)

    def as_json(self) -> dict[str, object]:
        """Return the finding in the form of the command line's JSON and of problem details."""
        first, _, rest = self.message.partition("\n")
        proof = self.evidence
        return {
            "id": self.id,
            "severity": self.severity,
            "message": first,
            "details": rest,
            "hint": self.hint,
            "key": self.key,
            "where": self.where.as_json() if self.where is not NOWHERE else None,
            "row": self.row,
            "rule": self.rule.as_json() if self.rule else None,
            "docs": self.docs,
            "also": [Origin("file", place).as_json() for place in self.also],
            **(
                {"witness": proof.witness, "proposal": proof.proposal, "shown": proof.shown, "total": proof.total}
                if proof
                else {}
            ),
        }


def _origin(place: Place | None = None) -> Origin:
    if place is None:
        return NOWHERE
    return Origin("file", place) if place.line else Origin("document", name=place.file)


def finding_lines(finding: Finding) -> Iterator[str]:
    """Yield a finding as plain lines: place, id and message, further places, witness and proposal."""
    evidence = finding.evidence or Evidence()
    extent = f" ({evidence.extent})" if evidence.extent else ""
    yield str(replace(finding, message=f"{finding.id}: {finding.message}{extent}"))
    yield from (f"    and {place}" for place in finding.also)
    if evidence.witness is not None:
        yield "    for example:"
        yield from (f"        {line}" for line in evidence.witness.splitlines())
    if evidence.proposal is not None:
        yield "    a row that closes the gap:"
        yield from (f"        {line}" for line in evidence.proposal.splitlines())


class TooManyFindingsError(Exception):
    """The end of a check whose collector is full; the last finding of the collector reports that."""


class Collector:
    """A growing list of findings.

    With `most`, the finding after that many is replaced by one that reports the limit, and ends the check; message and
    key are cut at `longest` characters. Both bound the answer to content that a client sent.
    """

    def __init__(
        self, findings: Iterable[Finding] = (), *, most: int | None = None, longest: int | None = None
    ) -> None:
        self.findings = list(findings)
        self.suggestions = Suggestions()
        self._most = most
        self._longest = longest

    def __len__(self) -> int:
        return len(self.findings)

    def add(self, id_: str, message: str, *places: Place, key: str = "", hint: str = "", severity: str = ERROR) -> None:
        """Note one finding at the first of `places`; `key` is the setting, table or path that it is about.

        Raises:
            TooManyFindingsError: the collector holds `most` findings.
        """
        if len(self.findings) == self._most:
            message = f"more than {self._most} problems; fix these first"
            self.findings.append(Finding.at(id_, message, *(Place(place.file, 0, 0) for place in places[:1])))
            raise TooManyFindingsError
        self.findings.append(
            Finding.at(id_, message[: self._longest], *places, key=key[: self._longest], hint=hint, severity=severity)
        )

    def require(self, holds: object, id_: str, message: str, *places: Place, key: str = "", hint: str = "") -> bool:
        """Note a finding unless `holds` is true; return whether it is."""
        if not holds:
            self.add(id_, message, *places, key=key, hint=hint)
        return bool(holds)

    def in_order(self) -> tuple[Finding, ...]:
        """Return the findings without repetitions, by file, line and column; those without a line come last."""
        return ordered(self.findings)

    def raise_if_any(self, error: Callable[[tuple[Finding, ...]], Exception]) -> None:
        """Raise `error` with the findings unless all of them are warnings."""
        raise_errors(self.findings, error)


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings without repetitions, by file, line and column; those without a line come last."""
    return tuple(sorted(dict.fromkeys(findings), key=_order))


def raise_errors(findings: Iterable[Finding], error: Callable[[tuple[Finding, ...]], Exception]) -> None:
    """Raise `error` with those of the findings that are errors, if there are any."""
    stopping = tuple(finding for finding in findings if finding.severity == ERROR)
    if stopping:
        raise error(stopping)


def _order(finding: Finding) -> tuple[bool, Place]:
    place = finding.where.place
    return place is None, place or _UNKNOWN
