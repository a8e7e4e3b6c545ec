"""One driver of a plan: which one it is, what it is built from, and the driver itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import TYPE_CHECKING

from compozy.base.findings import Finding
from compozy.base.foreign import call_within
from compozy.base.ownership import is_trusted
from compozy.base.record import dataclass
from compozy.errors import CompozyError, DriverError, ProjectCodeError, ProvisionError, RuleTableError
from compozy.rulebook import load_rulebook
from compozy.settings.reference import IMPORT_S, is_project_code_allowed, load_reference, project_code

if TYPE_CHECKING:
    from compozy.drivers.protocol import Driver, Storage


@dataclass(frozen=True, slots=True)
class Step:
    """One driver to start: `factory` is `module:Class`, called with `options`, after the instances in `needs`.

    `component` is the text form of the instance, such as `cache[a]`, `row` the provision row behind it and `rules` the
    file of that row. `options` may hold secrets and do not show in `repr`. `addresses` are where it will be, without
    secrets; a default port may still move. `storage` is where the driver keeps data; None where that is not known,
    because the driver is Python of a project and must not be imported.
    """

    component: str
    driver: str
    row: str
    factory: str
    options: Mapping[str, object] = field(repr=False)
    needs: tuple[str, ...]
    timeout_s: float
    addresses: tuple[str, ...] = ()
    storage: tuple[Storage, ...] | None = ()
    mode: str = ""
    rules: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """The absolute paths of the data, as far as they are known."""
        return tuple(kept.path for kept in self.storage or ())


def storage_of(step: Step, limit_s: float) -> tuple[Storage, ...] | None:
    """Return where the driver of a step keeps data, None where its Python must not be imported.

    Raises:
        RuleTableError: the driver cannot be built.
        ProvisionError: its constructor or its `storage` raises, or does not return in time.
    """
    try:
        driver = build_driver(step, limit_s)
        return tuple(driver.storage())
    except ProjectCodeError:
        return None
    except DriverError as error:
        raise step_failure(step, error) from error


def is_shipped(step: Step) -> bool:
    """Return True unless the driver of a step is Python of a rule pack."""
    return step.factory in {row.factory for row in load_rulebook().drivers.values()}


def may_import(step: Step) -> bool:
    """Return True if the command runs the project's Python, or `compozy trust` names the directory of the rule pack."""
    return is_project_code_allowed() or is_trusted(step.rules)


def build_driver(step: Step, limit_s: float = IMPORT_S) -> Driver:
    """Return the driver of a step, not started; the one of a rule pack is behind a guard.

    Its import and its constructor may take `limit_s` seconds each.

    Raises:
        RuleTableError: its factory does not exist, does not take its options, or does not return a driver.
        ProvisionError: its constructor raises, or does not return in time.
        ProjectCodeError: its factory is Python of a project, and that is not allowed here.
        TrustError: another user may write the file of its factory.
    """
    shipped = is_shipped(step)
    limit_s = min(limit_s, IMPORT_S)
    try:
        with project_code(allowed=may_import(step)):
            factory = load_reference(step.factory, (step.factory,) if shipped else (), limit_s)
        inspect.signature(factory).bind(**step.options)
        driver: Driver = factory(**step.options) if shipped else _foreign(step, factory, limit_s)
    except (RuleTableError, TypeError, ValueError) as error:
        named = f"{step.component}: provision row {step.row}"
        raise RuleTableError.of(f"{named}: {step.factory} cannot be used: {error}") from error
    return driver


def _foreign(step: Step, factory: Callable[..., Driver], limit_s: float) -> Driver:
    from compozy.drivers.foreign_driver import ForeignDriver, verb_faults

    try:
        driver = call_within("its constructor", lambda: factory(**step.options), limit_s)
    except DriverError as error:
        raise step_failure(step, error) from error
    faults = list(verb_faults(driver))
    if faults:
        raise RuleTableError([Finding.at(RuleTableError.id, fault) for fault in faults])
    return ForeignDriver(driver)


def step_failure(step: Step, error: CompozyError) -> ProvisionError:
    """Return an error of a driver with component, driver and row."""
    failure = ProvisionError(step.component, error.message, row=step.row, driver=step.driver, hint=error.hint)
    failure.__cause__ = error
    return failure
