"""The model of one memory: what each operation must do, in plain Python."""

from __future__ import annotations

from dataclasses import dataclass, field

from compozy.memory.memory_definition import MemoryDefinition

OVERHEAD = 4


def tokens_of(content: str) -> int:
    """Return the tokens of an ASCII text."""
    return -(-len(content) // 4) + OVERHEAD


@dataclass
class Kept:
    """A message: its number, its content and the number of its last use."""

    number: int
    content: str
    used: int


@dataclass
class KeyModel:
    """One key; `expires` is set by what writes."""

    messages: list[Kept] = field(default_factory=list)
    counter: int = 0
    appended: int = 0
    evicted: int = 0
    has_ttl: bool = False

    @property
    def tokens(self) -> int:
        """Return the tokens of all messages."""
        return sum(tokens_of(one.content) for one in self.messages)

    def store(self, definition: MemoryDefinition, contents: list[str], *, replace: bool) -> int:
        """Append or write; return how many messages were evicted."""
        if replace:
            self.messages = []
        for content in contents:
            self.counter += 1
            self.messages.append(Kept(self.counter, content, self.counter))
        self.appended += len(contents)
        self.has_ttl = definition.ttl_s > 0
        return self.evict(definition)

    def evict(self, definition: MemoryDefinition) -> int:
        """Drop messages until both limits hold."""
        self._note_uses(definition)
        count = 0
        while 0 < definition.max_messages < len(self.messages) or 0 < definition.max_tokens < self.tokens:
            self.messages.remove(min(self.messages, key=lambda one: one.used if definition.is_lru else one.number))
            count += 1
        self.evicted += count
        return count

    def read(self, definition: MemoryDefinition, limit: int, before: int) -> list[Kept]:
        """Return the newest messages; each is used now."""
        found = [one for one in self.messages if not before or one.number < before][-limit:]
        if definition.is_lru and found:
            for one in found:
                self.counter += 1
                one.used = self.counter
        return found

    def _note_uses(self, definition: MemoryDefinition) -> None:
        """Forget when messages were read, once the memory has eviction fifo."""
        if not definition.is_lru:
            for one in self.messages:
                one.used = one.number
