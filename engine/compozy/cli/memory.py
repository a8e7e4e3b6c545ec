"""`compozy memory`: the conversation memories of a project and their messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from compozy.base.output_file import write_file
from compozy.cli.completion import FILE
from compozy.cli.json_input import parse_json, read_argument, read_text_of
from compozy.cli.options import configuration_options, format_option
from compozy.cli.output import json_text, print_document, print_json, print_line, print_table, shown
from compozy.cli.prepare import project_client
from compozy.errors import CompozyError, NotFoundError, UsageError

if TYPE_CHECKING:
    from compozy.client.memory_answers import MemoryChanged, MemoryList
    from compozy.client.project_client import MemoryClient
    from compozy.memory.message import MemoryKey, MemoryStats, StoredMessage

PAGE = 1000


@click.group(name="memory")
def command() -> None:
    """List, show and change conversation memories."""


@command.command(name="list", epilog="Example: compozy memory list chat")
@click.argument("memory", required=False)
@configuration_options
@format_option()
def list_(memory: str | None, format_: str, strict: bool, **options: object) -> None:
    """List the memories of the project, or the keys of one MEMORY."""
    with project_client(options, strict) as client:
        if memory is None:
            found = client.memories()
            print_json(found.to_json()) if format_ == "json" else _print_memories(found)
            return
        keys = list(_keys(client.memory(memory)))
    if format_ == "json":
        print_json({"memory": memory, "keys": [_plain(key) for key in keys]})
    elif keys:
        rows = [
            (key.key, str(key.entries), str(key.tokens), key.updated_at or "", key.expires_at or "") for key in keys
        ]
        print_table(rows, ("KEY", "MESSAGES", "TOKENS", "CHANGED", "EXPIRES"))
    else:
        print_line(f"memory {memory} has no keys yet")


def _print_memories(found: MemoryList) -> None:
    if found.memories:
        rows = [(item.id, item.type, str(item.keys), str(item.entries)) for item in found.memories]
        print_table(rows, ("MEMORY", "TYPE", "KEYS", "MESSAGES"))
    else:
        print_line("no memories: declare them under memories: in compozy.yaml")


@command.command(epilog="Example: compozy memory show chat ada --limit 10")
@click.argument("memory")
@click.argument("key")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, PAGE), help="Newest messages shown.")
@configuration_options
@format_option()
def show(memory: str, key: str, limit: int, format_: str, strict: bool, **options: object) -> None:
    """Show the newest messages of a KEY, the oldest of them first."""
    with project_client(options, strict) as client:
        found = client.memory(memory).read(key, limit)
    if format_ == "json":
        print_json(found.to_json())
        return
    for message in found.messages:
        print_line(f"{message.role}: {shown(message.content)}")
    left = found.stats.entries - len(found.messages)
    if left > 0 or not found.messages:
        print_line(f"{left} older messages are not shown" if found.messages else f"{key} has no messages", err=True)


@command.command(epilog="Example: compozy memory stats chat ada")
@click.argument("memory")
@click.argument("key")
@configuration_options
@format_option()
def stats(memory: str, key: str, format_: str, strict: bool, **options: object) -> None:
    """Show how many messages and tokens a KEY has, and when it expires."""
    with project_client(options, strict) as client:
        found = client.memory(memory).read(key, 1).stats
    if format_ == "json":
        print_json({"memory": memory, "key": key, "stats": _plain(found)})
    else:
        print_table([(name, shown(value)) for name, value in _plain(found).items()], ("FIELD", "VALUE"))


@command.command(epilog='Example: compozy memory append chat ada "Where is my order?"')
@click.argument("memory")
@click.argument("key")
@click.argument("content")
@click.option("--role", default="user", show_default=True, help="Its role, such as user or assistant.")
@click.option("--json", "as_json", is_flag=True, help="CONTENT is one message or a list of them as JSON.")
@configuration_options
@format_option()
def append(
    memory: str, key: str, content: str, role: str, as_json: bool, format_: str, strict: bool, **options: object
) -> None:
    """Add a message with CONTENT to a KEY.

    @FILE reads a file, @- stdin, without the line break at the end; @@ begins a text with @.
    """
    text = _text(content)
    payload = parse_json(text, "CONTENT") if as_json else {"role": role, "content": text}
    with project_client(options, strict) as client:
        changed = client.memory(memory).append(key, payload)
    evicted = f", {changed.removed} evicted" if changed.removed else ""
    _print_changed(changed, format_, f"{key} has {_count(changed.stats.entries)}{evicted}")


@command.command(epilog="Example: compozy memory clear chat ada")
@click.argument("memory")
@click.argument("key")
@configuration_options
@format_option()
def clear(memory: str, key: str, format_: str, strict: bool, **options: object) -> None:
    """Remove the messages of a KEY. Its statistics stay."""
    with project_client(options, strict) as client:
        changed = client.memory(memory).clear(key)
    _print_changed(changed, format_, f"{_count(changed.removed)} of {key} removed")


@command.command(epilog="Example: compozy memory delete chat ada")
@click.argument("memory")
@click.argument("key")
@configuration_options
@format_option()
def delete(memory: str, key: str, format_: str, strict: bool, **options: object) -> None:
    """Remove a KEY with its messages and statistics."""
    with project_client(options, strict) as client:
        changed = client.memory(memory).delete(key)
    _print_changed(changed, format_, f"{key} was deleted with {_count(changed.removed)}")


@command.command(epilog="Example: compozy memory export --output memories.json")
@click.argument("memory", required=False)
@click.option("--output", metavar="FILE", help="Where to write; stdout when not given.")
@configuration_options
def export(memory: str | None, output: str | None, strict: bool, **options: object) -> None:
    """Write the messages of all memories, or of one MEMORY, as JSON. `compozy memory import` reads it."""
    with project_client(options, strict) as client:
        names = [item.id for item in client.memories().memories] if memory is None else [memory]
        memories = [{"id": name, "keys": list(_exported(client.memory(name)))} for name in names]
    document = {"format_version": 1, "memories": memories}
    if output is None:
        print_document(document)
        return
    try:
        write_file(output, json_text(document) + "\n")
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}") from error
    print_line(f"{sum(len(item['keys']) for item in memories)} keys written to {output}", err=True)


@command.command(name="import", epilog="Example: compozy memory import memories.json")
@click.argument("file", type=FILE)
@configuration_options
@format_option()
def import_(file: str, format_: str, strict: bool, **options: object) -> None:
    """Import keys from what `memory export` wrote; - reads stdin. A key that exists gets the messages of the file."""
    from compozy.memory.exchange import portions, read_exported
    from compozy.memory.memories import unknown_memory

    exported = read_exported(parse_json(read_text_of(file, file), file), file)
    with project_client(options, strict) as client:
        known = [item.id for item in client.memories().memories]
        # Before anything is written, so that a file with an unknown memory changes nothing.
        for unknown in (item.id for item in exported.memories if item.id not in known):
            raise unknown_memory(unknown, known)
        for item in exported.memories:
            memory = client.memory(item.id)
            for key in item.keys:
                first, *others = portions(key.messages)
                # One operation takes a bounded number of messages: the first portion replaces, the others follow it.
                memory.write(key.key, first)
                for part in others:
                    memory.append(key.key, part)
    counts = {item.id: len(item.keys) for item in exported.memories}
    if format_ == "json":
        print_json({"imported": counts})
    else:
        print_line(f"keys imported: {', '.join(f'{name} {count}' for name, count in counts.items()) or 'none'}")


def _print_changed(changed: MemoryChanged, format_: str, text: str) -> None:
    print_json(changed.to_json()) if format_ == "json" else print_line(text)


def _plain(record: MemoryKey | MemoryStats | StoredMessage) -> dict[str, object]:
    from msgspec import to_builtins

    return dict(to_builtins(record))


def _keys(memory: MemoryClient) -> Iterator[MemoryKey]:
    """Yield every key of a memory."""
    after: str | None = ""
    while after is not None:
        page = memory.keys(PAGE, after)
        yield from page.keys
        after = page.next_cursor


def _exported(memory: MemoryClient) -> Iterator[dict[str, object]]:
    """Yield each key with its messages, the oldest first; one that expires meanwhile is left out."""
    for key in _keys(memory):
        try:
            pages = [memory.read(key.key, PAGE).messages]
            while len(pages[-1]) == PAGE:
                pages.append(memory.read(key.key, PAGE, pages[-1][0].id).messages)
        except CompozyError as error:  # of the server, or of this process
            if error.id != NotFoundError.id:
                raise
            continue
        yield {"key": key.key, "messages": [_plain(message) for page in reversed(pages) for message in page]}


def _text(content: str) -> str:
    """Return an argument, or the text of the file that it names."""
    if not content.startswith("@"):
        return content
    return content[1:] if content.startswith("@@") else read_argument(content, "CONTENT").removesuffix("\n")


def _count(messages: int) -> str:
    return "1 message" if messages == 1 else f"{messages} messages"
