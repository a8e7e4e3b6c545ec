"""A driver of a rule pack behind the guard: its verbs raise `DriverError` and nothing else.

The caller of a verb bounds its time, except for `holding`, `preflight` and `storage`. No verb is called in the main
thread, where a signal looks like an exception of the driver.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import partial
from typing import TypeVar

from compozy.base.foreign import call_foreign, call_within
from compozy.drivers.protocol import Check, Description, Driver, StartContext, Storage
from compozy.errors import ForeignCodeError

Item = TypeVar("Item")
VERBS = ("start", "ping", "stop", "describe")
OPTIONAL_VERBS = ("preflight", "storage", "holding", "reader")
HOLDING_S = 5.0
PREFLIGHT_S = 15.0


def verb_faults(driver: object) -> Iterator[str]:
    """Yield why an object, or the objects of a class, cannot be a driver: a verb is missing or `async def`."""
    for verb in (*VERBS, *OPTIONAL_VERBS):
        found = inspect.getattr_static(driver, verb, None)
        if found is None and verb in VERBS:
            yield f"it has no method `{verb}`"
        elif inspect.iscoroutinefunction(found):
            yield f"its {verb} is `async def`, and must be a method that blocks"


class ForeignDriver:
    """Passes every verb to a driver of a rule pack."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    @property
    def handle(self) -> object:
        """The handle of the driver."""
        return call_foreign("its handle", lambda: self._driver.handle)

    def start(self, context: StartContext) -> None:
        """Start the driver."""
        self._call("start", context)

    def ping(self) -> None:
        """Ask the driver for a real operation."""
        self._call("ping")

    def stop(self, grace_s: float) -> None:
        """Stop the driver."""
        self._call("stop", grace_s)

    def describe(self) -> Description:
        """Return the description, or raise ForeignCodeError for anything else."""
        found = self._call("describe")
        if not isinstance(found, Description):
            raise ForeignCodeError(f"its describe returned {type(found).__name__}, not a Description")
        return found

    def preflight(self, context: StartContext) -> list[Check]:
        """Return the checks of the driver, none where it has no such method."""
        found = self._listed("preflight", PREFLIGHT_S, context)
        return [_of_type("preflight", check, Check) for check in found]

    def storage(self) -> list[Storage]:
        """Return where the driver keeps data, nothing where it has no such method."""
        return [_of_type("storage", kept, Storage) for kept in self._listed("storage", HOLDING_S)]

    def _listed(self, verb: str, limit_s: float, *arguments: object) -> list[object]:
        found = getattr(self._driver, verb, None)
        return [] if found is None else call_within(f"its {verb}", lambda: list(found(*arguments)), limit_s)

    def _call(self, verb: str, *arguments: object) -> object:
        return call_foreign(f"its {verb}", lambda: getattr(self._driver, verb)(*arguments))

    def __getattr__(self, name: str) -> object:
        found = getattr(self._driver, name)
        if name == "holding":
            return lambda: call_within("its holding", found, HOLDING_S)
        return partial(self._call, name) if name in OPTIONAL_VERBS else found


def _of_type(verb: str, found: object, kind: type[Item]) -> Item:
    if not isinstance(found, kind):
        raise ForeignCodeError(f"its {verb} returned {type(found).__name__}, not a {kind.__name__}")
    return found
