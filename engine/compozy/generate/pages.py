"""The reference pages of settings and of findings, as Markdown.

What comes in: a rulebook. What goes out: the texts of pages.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from compozy.examples import examples_of
from compozy.explain_finding import conditions, example_text, finding_rows
from compozy.rulebook.rows import Rulebook
from compozy.settings.registry import Registry, Setting
from compozy.tables.table import Row, Table

_MADE = "<!-- Generated from the rules by `make generate`; edit those. -->"
_SETTINGS = """
# Settings

Every setting that there is. A value comes from a flag, the environment, `.env` beside the configuration file, the file
`compozy.yaml`, or the default, in this order; `compozy config explain KEY` says which one won and what it won over.
`--set path=value` sets any of them. Durations are written `500ms`, `5m` or `168h`, sizes `64KiB` or `10MB`. Relative
paths are seen from the directory of the configuration file. `null` means not set; keys that start with `x-` are yours.

`${VAR}`, `${VAR:-default}` and `${VAR:?message}` in texts of the file are replaced by variables, `$$` by a dollar.

[compozy.sample.yaml](compozy.sample.yaml) holds all of them as a file, [.env.example](.env.example) as variables, and
[compozy.json](../../schemas/compozy.json) is the JSON Schema for your editor.
"""
_FINDINGS = """
# Findings

What validation may have to say. Errors stop, warnings do not; `--strict` makes warnings errors.
`compozy config validate` shows all findings of a configuration at once, each with its place;
`compozy config explain --finding ID` shows the row behind one of them, and which of its conditions hold.

| finding | severity | says |
|---|---|---|
"""


def settings_page(rulebook: Rulebook) -> str:
    """Return the reference page of all settings, a table for each group."""
    registry = rulebook.registry
    lines = [_MADE, *_SETTINGS.splitlines(), ""]
    for group, settings in _groups(registry).items():
        lines += [f"## {group or 'Project'}", "", *_settings_table(rulebook, settings), ""]
    lines += ["## Other spellings", "", "| written | means |", "|---|---|", *_spellings(registry), ""]
    return "\n".join([*lines, *_lists(registry)]).rstrip() + "\n"


def _groups(registry: Registry) -> dict[str, list[Setting]]:
    """Return the settings by the first word of their path; empty for those that are that word."""
    groups: dict[str, list[Setting]] = {}
    for setting in registry.settings.values():
        first, dot, _ = setting.path.partition(".")
        groups.setdefault(first if dot else "", []).append(setting)
    return groups


def _settings_table(rulebook: Rulebook, settings: Iterable[Setting]) -> Iterator[str]:
    yield "| setting | type | default | variable, flag | what it is |"
    yield "|---|---|---|---|---|"
    for setting in settings:
        names = ", ".join(f"`{name}`" for name in (setting.env, setting.flag) if name)
        cells = (f"`{setting.path}`", kind_words(setting), _default(rulebook, setting), names, _about(setting))
        yield _table_row(cells)


def _about(setting: Setting) -> str:
    notes = (" Secret." if setting.secret else "") + (" Declared, not used." if setting.unused else "")
    return "<br>".join(setting.lines) + notes


def _table_row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def kind_words(setting: Setting) -> str:
    """Return what a setting may be, in words."""
    if setting.type == "choice":
        return ", ".join(f"`{value}`" for value in (*setting.values, *setting.also))
    return setting.type if setting.minimum is None else f"{setting.type}, at least {setting.minimum}"


def _default(rulebook: Rulebook, setting: Setting) -> str:
    if setting.default is not None:
        return f"`{literal(setting.default)}`"
    if setting.same_as:
        return f"the same as `{setting.same_as}`"
    derived = derived_values(rulebook, setting.path)
    if derived is None:
        return "unset"
    table, values = derived
    return f"{' or '.join(f'`{literal(value)}`' for value in values)}, by the table `{table}`"


def derived_values(rulebook: Rulebook, path: str) -> tuple[str, list[object]] | None:
    """Return the table that derives a setting, and what it may derive; None when no table does."""
    for table in rulebook.ruleset.tables.values():
        for output, target in table.sets.items():
            if target == path:
                values = dict.fromkeys(row.then.get(output) for row in table.rows)
                return table.id, [value for value in values if value is not None]
    return None


def literal(value: object) -> str:
    """Return a value as YAML writes it on one line.

    >>> literal(True), literal("memory"), literal(":memory:"), literal("")
    ('true', 'memory', '":memory:"', '""')
    """
    plain = isinstance(value, str) and value.replace(".", "").replace("/", "").replace("-", "").isalnum()
    return str(value) if plain and not str(value).replace(".", "").isdigit() else json.dumps(value)


def _spellings(registry: Registry) -> Iterator[str]:
    for spelled, path in registry.spelled.items():
        if spelled != path:
            yield _table_row((f"`{spelled}`", f"`{path}`"))


def _lists(registry: Registry) -> Iterator[str]:
    header = ("| field | type | also written | what it is |", "|---|---|---|---|")
    for setting in registry.settings.values():
        if setting.items:
            yield from (f"## Fields of {setting.path}", "", *header)
            for item in setting.items.values():
                also = ", ".join(f"`{name}`" for name in item.aliases)
                yield _table_row((f"`{item.path}`", kind_words(item), also, _about(item)))
            yield ""


def findings_page(rulebook: Rulebook) -> str:
    """Return the page of all findings: a list, then each with its conditions and examples."""
    rows = list(finding_rows(rulebook.ruleset.tables.values()))
    lines = [_MADE, *_FINDINGS.splitlines()]
    for _, row in rows:
        says = str(row.body["text"]).splitlines()[0]
        lines.append(_table_row((f"[{row.id}](#{anchor(row.id)})", str(row.body["severity"]), f"`{says}`")))
    examples = {(example.id, example.kind): example_text(example) for example in examples_of(rulebook)}
    for table, row in rows:
        lines += ["", *_finding(table, row, examples[row.id, "bad"], examples[row.id, "good"])]
    return "\n".join(lines) + "\n"


def anchor(heading: str) -> str:
    """Return the anchor of a heading, as GitHub makes it.

    >>> anchor("mode.unknown")
    'modeunknown'
    """
    return "".join(char for char in heading.lower() if char.isalnum() or char in "_-")


def _finding(table: Table, row: Row, bad: str, good: str) -> Iterator[str]:
    body = row.body
    severity = str(body["severity"]).capitalize()
    yield from (f"## {row.id}", "", f"{severity}, from `{row.place.file}`, table `{table.id}`.")
    yield from ("", "```text", str(body["text"]).rstrip(), "```", "", "It shows when", "")
    yield from (f"- `{column}` is {wants} ({source})" for column, source, wants in conditions(table, row))
    if body.get("hint"):
        yield from ("", f"Fix: {body['hint']}")
    yield from ("", "With it:", "", "```yaml", bad or "# an empty configuration", "```")
    yield from ("", "Without it:", "", "```yaml", good or "# an empty configuration", "```")
