"""The memories of a project, on the Redis of its runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from compozy.base.suggest import closest
from compozy.base.tally import Tally
from compozy.errors import NotFoundError
from compozy.memory.memory import Memory
from compozy.memory.memory_definition import MemoryDefinition, memory_definitions
from compozy.memory.message import MemorySummary
from compozy.memory.scripts import Scripts
from compozy.resolution.resolve import Resolved


class Memories:
    """The declared memories by id; `namespace` begins the names of the project's keys.

    `connect` returns a Redis client, and is called when the first operation needs it; `hide` takes the secrets of the
    configuration out of what is stored. `operations` counts by memory and kind since the start.
    """

    def __init__(
        self, connect: Callable[[], object], definitions: Iterable[MemoryDefinition], namespace: str,
        hide: Callable[[str], str] = str,
    ) -> None:  # fmt: skip
        scripts = Scripts(connect)
        self.operations = Tally()
        self._memories = {one.id: Memory(one, scripts, namespace, hide, self.operations) for one in definitions}

    def memory(self, memory_id: str) -> Memory:
        """Return one memory.

        Raises:
            NotFoundError: it is not declared.
        """
        found = self._memories.get(memory_id)
        if found is None:
            raise unknown_memory(memory_id, self._memories)
        return found

    def summaries(self) -> tuple[MemorySummary, ...]:
        """Return each memory with its keys and messages counted, in the order of the configuration.

        Raises:
            DriverError: Redis does not answer.
        """
        return tuple(_summary(memory) for memory in self._memories.values())


def _summary(memory: Memory) -> MemorySummary:
    sizes = [key.entries for key in memory.all_keys()]
    return MemorySummary(id=memory.definition.id, keys=len(sizes), entries=sum(sizes), type=memory.definition.type)


def unknown_memory(memory_id: str, known: Iterable[str]) -> NotFoundError:
    """Return the error about a memory that is not declared."""
    names = tuple(known)
    meant = closest(memory_id, names)
    hint = f'did you mean "{meant}"?' if meant else "declare it under memories: in compozy.yaml"
    return NotFoundError("memory", memory_id, hint=hint)


def no_memories() -> Memories:
    """Return the memories of a project that declares none."""
    return Memories(lambda: None, (), "")


def project_memories(resolved: Resolved, connect: Callable[[], object]) -> Memories:
    """Return the memories of a configuration on the Redis client that `connect` returns."""
    namespace, hide = str(resolved.get("redis.namespace")), resolved.redactor().known
    return Memories(connect, memory_definitions(resolved).values(), namespace, hide)
