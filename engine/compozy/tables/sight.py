"""What several columns see of one underlying value, so that only what can be seen together counts.

What comes in: nothing but constructor arguments. What goes out: the records and the protocol by which
whoever owns the settings says what a value looks like. It must not know any view.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from compozy.tables.table import Condition, Scalar, Source

Assignment: TypeAlias = tuple[tuple[Source, Scalar], ...]


@dataclass(frozen=True, slots=True)
class Sight:
    """One underlying value: `seen` through each way of looking at it, `said` are settings that bring it about."""

    seen: tuple[Scalar, ...]
    said: Assignment


class Viewer(Protocol):
    """Knows which columns look at the same underlying value, and what they see of it together."""

    def bases(self, source: Source, *, collects: bool) -> tuple[Source, ...]:
        """Return the underlying values that a column looks at, its own first.

        Columns with a common base are looked at together. `collects` tells that the column belongs to a table of
        findings. A source of which nothing is known is its own base.
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
