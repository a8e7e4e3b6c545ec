"""`compozy config simulate`: what the configuration would become under other values, as a matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from compozy.cli.options import configuration_options, read_configuration
from compozy.cli.output import print_json, print_line, print_table
from compozy.explain.simulate import AS_CONFIGURED, Outcome, simulate, varied_settings
from compozy.settings.machine import probe_facts

_COLOURS = {"ok": "#b7e1cd", "warning": "#fce8b2", "error": "#f4c7c3"}
_CELL, _HEAD, _LABEL = 170, 44, 260


@click.command(epilog="Example: compozy config simulate --vary mode,temporal.mode --format svg > modes.svg")
@configuration_options
@click.option(
    "--vary", metavar="PATH,...", required=True,
    help="Settings to vary, each PATH for all its listed values, or PATH=VALUE|VALUE.",
)  # fmt: skip
@click.option(
    "--format", "format_", type=click.Choice(["text", "json", "csv", "svg"]), default="text", show_default=True,
    help="Form of the matrix; svg is a heat map.",
)  # fmt: skip
def simulate_(vary: str, format_: str, strict: bool, **options: object) -> None:
    """Print what follows from each combination of some values.

    The configuration is resolved and validated once for each combination; nothing is started. A varied value
    counts like one on the command line; `-` leaves the setting as it is configured.
    """
    configuration = read_configuration(options)
    registry = configuration.rulebook.registry
    varied = varied_settings(registry, [name.strip() for name in vary.split(",")])
    outcomes = list(simulate(configuration, varied, probe_facts(registry)))
    {"text": _print_text, "json": _print_json, "csv": _print_csv, "svg": _print_svg}[format_](outcomes)


def _header(outcome: Outcome) -> list[str]:
    return [*outcome.varied, "global mode", *outcome.components, "result", "findings"]


def _row(outcome: Outcome) -> list[str]:
    components = [f"{part.driver} ({part.mode})" for part in outcome.components.values()]
    return [*outcome.varied.values(), outcome.mode, *components, outcome.worst, " ".join(_ids(outcome))]


def _ids(outcome: Outcome) -> list[str]:
    return list(dict.fromkeys(finding.id for finding in outcome.findings))


def _print_text(outcomes: Sequence[Outcome]) -> None:
    print_table([_row(outcome) for outcome in outcomes], [name.upper() for name in _header(outcomes[0])])
    counts = {word: sum(outcome.worst == word for outcome in outcomes) for word in _COLOURS}
    print_line("\n" + ", ".join(f"{count} {word}" for word, count in counts.items()))


def _print_json(outcomes: Sequence[Outcome]) -> None:
    print_json({"combinations": [_json(outcome) for outcome in outcomes]})


def _json(outcome: Outcome) -> Mapping[str, object]:
    return {
        "varied": dict(outcome.varied),
        "mode": outcome.mode,
        "components": {name: {"mode": p.mode, "driver": p.driver} for name, p in outcome.components.items()},
        "result": outcome.worst,
        "findings": [finding.as_json() for finding in outcome.findings],
    }


def _print_csv(outcomes: Sequence[Outcome]) -> None:
    import csv
    from io import StringIO

    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([_header(outcomes[0]), *(_row(outcome) for outcome in outcomes)])
    print_line(text.getvalue().rstrip("\n"))


def _print_svg(outcomes: Sequence[Outcome]) -> None:
    print_line(heat_map(outcomes))


def heat_map(outcomes: Sequence[Outcome]) -> str:
    """Return an SVG with the last varied setting across and the others down; the title of a cell lists its findings."""
    *down, across = outcomes[0].varied
    columns = list(dict.fromkeys(outcome.varied[across] for outcome in outcomes))
    rows = [outcomes[at : at + len(columns)] for at in range(0, len(outcomes), len(columns))]
    width, height = _LABEL + _CELL * len(columns) + 10, 2 * _HEAD + _HEAD * len(rows)
    middle = _LABEL + _CELL * len(columns) / 2
    parts = [_text(middle, 18, across, "middle"), _text(8, _HEAD + 18, ", ".join(down), "start")]
    parts += [_text(_LABEL + _CELL * (at + 0.5), _HEAD + 18, _words(name), "middle") for at, name in enumerate(columns)]
    for at, row in enumerate(rows):
        top = 2 * _HEAD - 10 + _HEAD * at
        parts.append(_text(8, top + 25, ", ".join(_words(row[0].varied[path]) for path in down), "start"))
        parts += [_cell(_LABEL + _CELL * number, top, outcome) for number, outcome in enumerate(row)]
    style = 'font-family="sans-serif" font-size="13"'
    box = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return "\n".join([f"<svg {box} {style}>", '<rect width="100%" height="100%" fill="white"/>', *parts, "</svg>"])


def _words(text: str) -> str:
    return "as configured" if text == AS_CONFIGURED else text


def _cell(left: float, top: float, outcome: Outcome) -> str:
    drivers = ", ".join(f"{name}: {part.driver}" for name, part in outcome.components.items())
    title = _escaped("\n".join([f"mode {outcome.mode}; {drivers}", *(f.message for f in outcome.findings)]))
    count = len(outcome.findings)
    summary = outcome.worst if not count else f"{count} finding{'s' if count > 1 else ''}"
    place = f'x="{left + 2}" y="{top}" width="{_CELL - 4}" height="{_HEAD - 4}" rx="4"'
    box = f'<rect {place} fill="{_COLOURS[outcome.worst]}"/>'
    label = _text(left + _CELL / 2, top + 25, f"{outcome.mode}: {summary}", "middle")
    return f"<g><title>{title}</title>{box}{label}</g>"


def _text(left: float, top: float, words: str, anchor: str) -> str:
    return f'<text x="{left:g}" y="{top:g}" text-anchor="{anchor}" fill="#202124">{_escaped(words)}</text>'


def _escaped(text: str) -> str:
    from html import escape

    return escape(text)
