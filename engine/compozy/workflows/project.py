"""The workflows of a configuration, on the components that were provisioned for it."""

from __future__ import annotations

from collections.abc import Callable

from compozy.knowledge.bases import declared_bases
from compozy.knowledge.library import make_library
from compozy.memory.memories import project_memories
from compozy.provisioning.provision import Notice, Runtime, provision_components
from compozy.resolution.resolve import Resolved
from compozy.tools import Lookup
from compozy.workflows.facade import Workflows, WorkflowSettings
from compozy.workflows.run.tool_loader import ToolOffer


def workflow_settings(resolved: Resolved) -> WorkflowSettings:
    """Return what a configuration determines about workflows."""
    get = resolved.get
    return WorkflowSettings(
        directory=resolved.directory,
        task_queue=get("temporal.task_queue"),
        files=tuple(get("workflows") or ()),
        max_concurrent_workflows=get("worker.max_concurrent_workflows"),
        auto_migrate=get("database.auto_migrate"),
        database_kept=bool(resolved.components["database"].kept),
        history_kept=bool(resolved.components["temporal"].kept),
        retention_s=get("executions.retention"),
    )


def project_workflows(resolved: Resolved, runtime: Runtime) -> Workflows:
    """Return the workflows on the components of `runtime`, not opened yet."""
    offer = tool_offer(resolved, lambda name: runtime.component(name).handle)
    library = make_library(runtime.database, declared_bases(resolved), offer.components)
    return Workflows(runtime.temporal, runtime.database, runtime.loop, workflow_settings(resolved), offer, library)


def tool_offer(resolved: Resolved, components: Lookup) -> ToolOffer:
    """Return what a configuration lets tools use; `components` gives the handle of a component."""
    given = resolved.get("secrets") or {}
    secrets = {str(name): str(value) for name, value in given.items() if value is not None}
    memories = project_memories(resolved, lambda: components("redis"))
    return ToolOffer(components, resolved.get("tools"), secrets, resolved.redactor().text, memories)


def provision_project(
    resolved: Resolved, release: Callable[[float], None] | None = None, *, notice: Notice = lambda line: None
) -> Runtime:
    """Provision the components; `runtime.workflows` starts the worker on first use.

    Raises:
        ProvisionError: a component failed; everything that was started is stopped again.
    """
    runtime = provision_components(resolved, release, notice=notice)
    equip(runtime, resolved)
    return runtime


def equip(runtime: Runtime, resolved: Resolved) -> None:
    """Register the workflows and memories of a configuration, which its runtime creates at their first use."""
    runtime.make_workflows = lambda: project_workflows(resolved, runtime).open()
    runtime.find_memory = project_memories(resolved, lambda: runtime.redis).memory
