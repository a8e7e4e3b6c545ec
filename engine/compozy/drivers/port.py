"""The port that a driver is asked to use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Port:
    """A port asked for: its number, the setting behind it, and whether somebody chose it.

    A port that nobody chose moves to a free one when it is busy.
    """

    number: int
    setting: str
    explicit: bool
