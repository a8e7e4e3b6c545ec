"""The port that a driver is asked to use; only a default one may be replaced by a free one."""

from __future__ import annotations

from compozy.base.record import dataclass


@dataclass(frozen=True, slots=True)
class Port:
    """A requested port: its number, its setting, and whether the user set it (`explicit`).

    A default port is replaced by a free one when it is busy.
    """

    number: int
    setting: str
    explicit: bool
