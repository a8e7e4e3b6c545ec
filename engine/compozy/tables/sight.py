"""What several columns see of one underlying value, so that only what can be seen together counts.

What comes in: nothing but constructor arguments. What goes out: the records and the protocol by which
whoever owns the settings says what a value looks like. It must not know any view.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

from compozy.tables.table import Condition, Scalar, Source

Assignment: TypeAlias = tuple[tuple[Source, Scalar], ...]

# The kind of a source that shows where an underlying value comes from: the value that a table derives for it, None
# where it derives none, or `WRITTEN`, which equals no value of a rule file.
ORIGIN = "origin"
WRITTEN = "\0"


@dataclass(frozen=True, slots=True)
class Look:
    """How a column reads: its full `source`, the underlying values `bases`, and the decisions that fill them in.

    `filled` maps a base to the decision that gives its value wherever nothing is written.
    """

    source: Source
    bases: tuple[Source, ...]
    filled: Mapping[Source, Source] = field(default_factory=dict)


class Sight(NamedTuple):
    """One underlying value: `seen` through each way of looking at it, `said` are settings that bring it about."""

    seen: tuple[Scalar, ...]
    said: Assignment


class Viewer(Protocol):
    """Knows which columns look at the same underlying value, and what they see of it together."""

    def look(self, source: Source, *, collects: bool) -> Look:
        """Return how a column of a table reads; the first base is its own.

        Columns with a common base are looked at together. `collects` is true for a column of a table of findings.
        A source of which nothing is known is its own base.
        """
        ...

    def sights(
        self, bases: Sequence[Source], sources: Sequence[Source], values: Mapping[str, Sequence[Scalar]]
    ) -> Iterable[Sight]:
        """Return what `sources`, which look at `bases`, can show together.

        `values` holds, by `ref` of the sources without view, values that represent all pieces that some row
        distinguishes; further ones are for the viewer to choose, so that every combination that any values
        show is among the sights. What is least to write down comes first.
        """
        ...

    def limits(self, source: Source) -> Sequence[Condition]:
        """Return the conditions on the value of a source by which some configurations are excluded."""
        ...

    def spelled(self, source: Source, value: Scalar) -> Any:
        """Return a value as a configuration file says it, in plain data."""
        ...

    @property
    def fingerprint(self) -> str:
        """A text that changes with everything that the sights depend on."""
        ...
