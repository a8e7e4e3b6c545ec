"""The error tree: every failure that Compozy knows has an id, an exit code and facts; secrets never reach an error.

The records of findings are imported where an error is raised, because every command imports this module.
"""

from __future__ import annotations

import os.path
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from compozy.base.findings import Finding
    from compozy.base.place import Place


class CompozyError(Exception):
    """Root of the tree; anything else that reaches the user is a bug.

    `id` is stable and shared by the command line and the HTTP interface; `exit_code` is the
    process's exit code (2 configuration or usage, 3 rule table, 4 provisioning, 5 workflow run). `findings` are the
    faults behind the error; the text of the message repeats them.
    """

    id: ClassVar[str] = "compozy.error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.findings: tuple[Finding, ...] = ()

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\nfix: {self.hint}"


class UsageError(CompozyError):
    """A command, a flag or an argument that cannot be understood."""

    id = "usage"
    exit_code = 2


class TrustError(CompozyError):
    """A file or directory that another user owns or may write, so that its content is not believed."""

    id = "trust.refused"
    exit_code = 2

    def __init__(self, path: str, reason: str) -> None:
        folder = path if os.path.isdir(path) else os.path.dirname(os.path.abspath(path))
        super().__init__(
            f"{path} is refused: {reason}",
            hint=f"change its owner or mode; or, if you trust who may write there, run: compozy trust {folder}",
        )
        self.path = path
        self.reason = reason


class ProjectCodeError(CompozyError):
    """Python of a project is needed by a command that imports none."""

    id = "project.code"
    exit_code = 4

    def __init__(self, reference: str) -> None:
        super().__init__(
            f"{reference} is Python of this project, which a command that only looks at it does not import",
            hint="run compozy start, and ask its server",
        )
        self.reference = reference


class SystemProblem(CompozyError):
    """A resource of the operating system that ran out or failed: disk, quota, open files, memory."""

    id = "system.failed"
    exit_code = 4


class BackupError(CompozyError):
    """A backup that could not be taken, or does not fit where it should be restored."""

    id = "backup.failed"
    exit_code = 4


class NotFoundError(CompozyError):
    """Something was asked for by name and does not exist."""

    id = "not-found"
    exit_code = 2

    def __init__(self, kind: str, name: str, *, hint: str | None = None) -> None:
        super().__init__(f'{kind} "{name}" does not exist', hint=hint)
        self.kind = kind
        self.name = name


class SyntaxProblem(CompozyError):
    """A file that is not readable YAML, or names a key twice; `place` is 1-based."""

    id = "file.syntax"
    exit_code = 2

    def __init__(self, reason: str, place: Place, *, hint: str | None = None) -> None:
        from compozy.base.findings import Finding

        super().__init__(f"{place}: {reason}", hint=hint)
        self.reason = reason
        self.place = place
        self.findings = (Finding.at(self.id, reason, place, hint=hint or ""),)


class DuplicateKeyProblem(SyntaxProblem):
    """A mapping that holds the same key twice; the second one is at `place`."""

    id = "file.duplicate-key"


def _advised(finding: Finding) -> str:
    return f"{finding.message} ({finding.hint})" if finding.hint else finding.message


class ConfigurationError(CompozyError):
    """A configuration with findings that stop; `findings` holds all of them, warnings included.

    `texts` maps file names to the texts that the findings point into; they may hold secrets.
    """

    id = "configuration.invalid"
    exit_code = 2

    def __init__(self, findings: Sequence[Finding], stopping: int, texts: Mapping[str, str]) -> None:
        count = "1 finding stops" if stopping == 1 else f"{stopping} findings stop"
        super().__init__(
            f"the configuration is not valid: {count}\n" + "\n".join(_advised(finding) for finding in findings)
        )
        self.findings = tuple(findings)
        self.texts = texts


class TransitionError(CompozyError):
    """A trigger that the lifecycle does not allow in its present state."""

    id = "lifecycle.refused"
    exit_code = 2

    def __init__(self, trigger: str, state: str, allowed: Sequence[str]) -> None:
        super().__init__(f"cannot {trigger} in state {state}", hint=f"possible now: {', '.join(allowed) or 'nothing'}")
        self.trigger = trigger
        self.state = state


class DefinitionError(CompozyError):
    """A workflow file that cannot be run; `findings` holds all that is wrong with it."""

    id = "workflow.definition"
    exit_code = 2

    def __init__(self, file: str, findings: Sequence[Finding]) -> None:
        super().__init__(f"{file} is not a valid workflow:\n" + "\n".join(f"  {finding}" for finding in findings))
        self.file = file
        self.findings = tuple(findings)


class RuleTableError(CompozyError):
    """Rule tables that cannot be used; `findings` holds all that is wrong with them."""

    id = "rules.invalid"
    exit_code = 3

    def __init__(self, findings: Sequence[Finding], *, hint: str | None = None) -> None:
        from compozy.base.findings import finding_lines

        # The id is part of the line unless it only repeats that of the error.
        texts = (str(one) if one.id == self.id else "\n".join(finding_lines(one)) for one in findings)
        super().__init__("\n".join(texts), hint=hint)
        self.findings = tuple(findings)

    @classmethod
    def of(cls, reason: str, *places: Place, hint: str | None = None) -> RuleTableError:
        """Return the error with one finding, which has no id of its own."""
        from compozy.base.findings import Finding

        return RuleTableError([Finding.at(cls.id, reason, *places)], hint=hint)


class ProvisionError(CompozyError):
    """A component that could not be provisioned; `row` is the provision row that asked for its `driver`."""

    id = "provision.failed"
    exit_code = 4

    def __init__(
        self, component: str, reason: str, *, row: str = "", driver: str = "", hint: str | None = None
    ) -> None:
        super().__init__(f"{component} could not be provisioned{_behind(driver, row)}: {reason}", hint=hint)
        self.component = component
        self.reason = reason
        self.row = row
        self.driver = driver


class ProvisionErrors(ProvisionError):
    """Components that could not be provisioned; `failures` holds each one, in the order of the plan.

    `cancelled` are those whose start was cancelled because of the failures; they count as no failure of their own.
    """

    def __init__(self, failures: Sequence[ProvisionError], cancelled: Sequence[str] = ()) -> None:
        count = "1 component" if len(failures) == 1 else f"{len(failures)} components"
        others = [f"  {name}: its start was cancelled before it was ready" for name in cancelled]
        CompozyError.__init__(
            self, "\n".join([f"{count} could not be provisioned", *map(_failure_text, failures), *others])
        )
        self.failures = tuple(failures)
        self.cancelled = tuple(cancelled)
        self.component, self.reason = failures[0].component, failures[0].reason
        self.row, self.driver = failures[0].row, failures[0].driver


def _failure_text(failure: ProvisionError) -> str:
    reason = failure.reason.replace("\n", "\n    ")
    fix = f"\n    fix: {failure.hint}" if failure.hint else ""
    return f"  {failure.component}{_behind(failure.driver, failure.row)}: {reason}{fix}"


def _behind(driver: str, row: str) -> str:
    """Return what asked for a component; a row is mostly named like its driver."""
    named = [f"driver {driver}"] if driver else []
    named += [f"rule row {row}"] if row else []
    return f" ({', '.join(named)})" if named else ""


class DriverError(CompozyError):
    """A driver could not start, reach or stop its backend; `reason` never holds a secret."""

    id = "driver.failed"
    exit_code = 4

    def __init__(self, reason: str, *, hint: str | None = None) -> None:
        super().__init__(reason, hint=hint)
        self.reason = reason


class ForeignCodeError(DriverError):
    """Code of a project or a rule pack raised an exception of its own, did not return, or has the wrong form."""

    id = "code.failed"


class VectorError(CompozyError):
    """A vector, a filter or a record that a vector store cannot take, such as one of a wrong dimension."""

    id = "vector.refused"
    exit_code = 2


class PortBusyError(DriverError):
    """An explicitly chosen port is taken; `owner` names the process where it can be known."""

    id = "port.busy"

    def __init__(self, port: int, setting: str, owner: str | None) -> None:
        by = f" by {owner}" if owner else ""
        super().__init__(
            f"port {port} ({setting}) is already in use{by}",
            hint=f"stop that process, or choose another {setting}",
        )
        self.port = port
        self.setting = setting
        self.owner = owner


class StateDirectoryError(DriverError):
    """The state directory is locked by another process, of a newer version, or damaged."""

    id = "state.unusable"


class InUseError(StateDirectoryError):
    """A running process uses the data; `owner` is its process id, None where it is not known."""

    id = "state.in-use"
    owner: int | None = None


class WorkflowRunError(CompozyError):
    """A workflow execution ended other than completed."""

    id = "workflow.failed"
    exit_code = 5

    def __init__(self, execution_id: str, status: str, reason: str) -> None:
        super().__init__(f"execution {execution_id} {status}: {reason}")
        self.execution_id = execution_id
        self.status = status
        self.reason = reason
