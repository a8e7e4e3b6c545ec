"""The reference pages of the command line and of the HTTP interface, as Markdown.

They derive from the click commands and from the OpenAPI document, which the caller passes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click

from docs.pages import MADE, table_row

_COMMANDS = """
# Command line

Results are printed to standard output, errors and notes to standard error. [Exit codes](exit-codes.md) are the same for
every command. `compozy COMMAND --help` prints the same information. Shell completion:
`eval "$(_COMPOZY_COMPLETE=bash_source compozy)"`, also for zsh and fish.
"""
_COMMON = """
## Common options

Options of every command that reads the configuration. Those with a `VALUE` are
[settings](../configuration/settings.md), so variables and the configuration file can set them as well.
"""
_HTTP = """
# HTTP API

The operations of the [HTTP interface](../http.md), as in `/openapi.json` of a running server. All except those marked
*open* need the [API key or a session](../http.md#access). An error is a [problem document](../http.md#answers).
"""


def command_page(root: click.Group) -> str:
    """Return the reference page of all commands below `root`."""
    found = list(_commands(root, click.Context(root, info_name="compozy")))
    shared = _shared_options(context.command for context in found)
    lines = [MADE, *_COMMANDS.splitlines(), *_COMMON.splitlines(), "", *_options_table(shared.values())]
    for context in found:
        lines += ["", *_command(context, shared)]
    return "\n".join(lines) + "\n"


def _commands(group: click.Group, parent: click.Context) -> Iterator[click.Context]:
    for name in group.list_commands(parent):
        command = group.get_command(parent, name)
        if command is None or command.hidden:
            continue
        context = click.Context(command, info_name=name, parent=parent)
        yield context
        if isinstance(command, click.Group):
            yield from _commands(command, context)


def _shared_options(commands: Iterable[click.Command]) -> dict[str, click.Option]:
    """Return by their help the options that stand in most commands."""
    options: dict[str, list[click.Option]] = {}
    leaves = [command for command in commands if not isinstance(command, click.Group)]
    for command in leaves:
        for option in _options(command):
            options.setdefault(_option_cells(option)[1], []).append(option)
    return {text: alike[0] for text, alike in options.items() if 2 * len(alike) > len(leaves)}


def _options(command: click.Command) -> Iterator[click.Option]:
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            yield parameter


def _command(context: click.Context, shared: Mapping[str, click.Option]) -> Iterator[str]:
    command = context.command
    yield from (f"{'##' if context.parent and context.parent.parent is None else '###'} {context.command_path}", "")
    yield from (" ".join((command.help or "").split()), "")
    yield from ("```text", " ".join((context.command_path, *command.collect_usage_pieces(context))), "```")
    own = [option for option in _options(command) if _option_cells(option)[1] not in shared]
    if own:
        yield from ("", *_options_table(own))
    if len(own) < len(list(_options(command))):
        yield from ("", "And the [common options](#common-options).")
    if command.epilog:
        yield from ("", *_example(command.epilog))


def _example(epilog: str) -> Iterator[str]:
    """Yield the epilog; examples that are nothing but commands become a block that can be copied."""
    text = " ".join(epilog.split())
    lines = text.removeprefix("Example: ").removeprefix("Examples: ").split("; ")
    if all(line.startswith("compozy ") and ", then " not in line for line in lines):
        yield from ("```console", *(f"$ {line}" for line in lines), "```")
    else:
        yield text


def _options_table(options: Iterable[click.Option]) -> Iterator[str]:
    yield from ("| option | what it does |", "|---|---|")
    for option in options:
        yield table_row(_option_cells(option))


def _option_cells(option: click.Option) -> tuple[str, str]:
    """Return how an option is written and what it does, as click shows them."""
    with click.Context(click.Command("compozy"), terminal_width=1000) as context:
        written, text = option.get_help_record(context) or ("", "")
    about = "<br>".join(line for line in text.splitlines() if line)
    return f"`{written.replace('|', ' or ')}`", about  # renderers disagree on a bar within a table


def http_page(document: Mapping[str, Any]) -> str:
    """Return the reference page of an OpenAPI document."""
    lines = [MADE, *_HTTP.splitlines()]
    schemas = document["components"]["schemas"]
    for path, item in document["paths"].items():
        for method, operation in item.items():
            lines += ["", f"## {method.upper()} {path}", *_operation(operation, schemas)]
    return "\n".join(lines) + "\n"


def _operation(operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    access = "" if "security" in operation else " *Open.*"
    yield from ("", operation["summary"] + access)
    query = [one for one in operation["parameters"] if one["in"] == "query"]
    if query:
        yield from ("", "| query | type | |", "|---|---|---|")
        for one in query:
            yield table_row((f"`{one['name']}`", _type(one["schema"]), one.get("description", "")))
    if "requestBody" in operation:
        yield from _fields("Body", operation["requestBody"]["content"], schemas)
    succeeded = [status for status in operation["responses"] if status != "default"]
    answer = operation["responses"][succeeded[0]]["content"]
    yield from _fields(f"Answer ({', '.join(succeeded)})", answer, schemas)


def _fields(title: str, content: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    ((media, described),) = content.items()
    schema = _schema(described["schema"], schemas)
    yield ""
    yield f"{title}: `{media}`" + ("" if schema.get("properties") else f", {_type(schema)}.")
    if schema.get("properties"):
        yield from ("", "| field | type | |", "|---|---|---|")
        required = schema.get("required", [])
        for name, field in schema["properties"].items():
            note = field.get("description", "") or ("always" if name in required else "")
            yield table_row((f"`{name}`", _type(field), note))


def _schema(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    return schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def _type(schema: Mapping[str, Any]) -> str:
    """Return the type of a value in words.

    >>> _type({"type": ["string", "null"]}), _type({"type": "array", "items": {"$ref": "#/components/schemas/Run"}})
    ('string or null', 'array of Run')
    """
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    kind = schema.get("type", "any JSON value")
    if kind == "array":
        return f"array of {_type(schema['items'])}"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)
