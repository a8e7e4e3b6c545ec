"""Observations of settings through several columns together, so that only feasible combinations count.

The records and the protocol by which the owner of the settings describes them; no view is known here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol, TypeAlias

from compozy.tables.table import ColumnSource, Condition, Scalar

Assignment: TypeAlias = tuple[tuple[ColumnSource, Scalar], ...]

# The kind of a source that reads the origin of a setting's value: the value that a table derives for it, None where it
# derives none, or `WRITTEN`, which equals no value of a rule file.
ORIGIN = "origin"
WRITTEN = "\0"


class ColumnReading(NamedTuple):
    """The reading of a column: its full `source`, the settings `bases` on which that depends, and their derivations.

    `filled` maps a base to the decision that gives its value where nothing is written.
    """

    source: ColumnSource
    bases: tuple[ColumnSource, ...]
    filled: Mapping[ColumnSource, ColumnSource] = MappingProxyType({})


class Observation(NamedTuple):
    """One feasible combination of the `values` of sources, and an `assignment` of settings that leads to it."""

    values: tuple[Scalar, ...]
    assignment: Assignment


class Viewer(Protocol):
    """Knows the settings behind columns, and which values columns can have together."""

    def reading(self, source: ColumnSource, *, collects: bool) -> ColumnReading:
        """Return how a column of a table reads; the first base is its own.

        Columns with a common base are observed together. `collects` is true for a column of a table of findings.
        A source of which nothing is known is its own base.
        """
        ...

    def observations(
        self, bases: Sequence[ColumnSource], sources: Sequence[ColumnSource], values: Mapping[str, Sequence[Scalar]]
    ) -> Iterable[Observation]:
        """Return the feasible combinations of the values of `sources`, which depend on `bases`.

        `values` holds, by `ref` of the sources without view, values that represent all pieces that some row
        distinguishes; the viewer chooses further ones, so that no combination is missing. The shortest assignments
        come first.
        """
        ...

    def limits(self, source: ColumnSource) -> Sequence[Condition]:
        """Return the conditions on the value of a source by which constraints exclude configurations."""
        ...

    def spelled(self, source: ColumnSource, value: Scalar) -> object:
        """Return a value in the spelling of a configuration file, as plain data."""
        ...
