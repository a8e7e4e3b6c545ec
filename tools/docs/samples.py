"""The sample files: `compozy.yaml` and `.env` with every setting in them, as comments.

The texts are derived from a rulebook; they are valid as they are, and with every comment removed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from compozy.rulebook.rows import Rulebook
from compozy.settings.registry import Setting
from docs.pages import derived_values, kind_words, literal

_ACTIVE = "mode"
_FILE = """\
# yaml-language-server: $schema=../../schemas/compozy.json
#
# All settings. Commented settings have the value shown, or none, by default.
# Generated from the rules by `make generate`; docs/configuration/settings.md is the same as a page.
"""
_VARIABLES = """\
# All variables. Copy the ones that you need into `.env` beside compozy.yaml; the environment overrides that file,
# and flags override both. Generated from the rules by `make generate`.
"""


def sample_file(rulebook: Rulebook) -> str:
    """Return a `compozy.yaml` with every setting, all but the mode as comments."""
    lines, before = [_FILE.rstrip()], list[str]()
    for setting in _ordered(rulebook):
        *groups, key = setting.path.split(".")
        lines += _headings(before, groups)
        indent = "  " * len(groups)
        value = _value(rulebook, setting)
        mark = "" if setting.path == _ACTIVE else "# "
        lines += [f"{indent}# {_about(setting)}", f"{indent}{mark}{key}:{' ' if value else ''}{value}"]
        before = groups
    return "\n".join(lines) + "\n"


def _written(rulebook: Rulebook) -> list[Setting]:
    """Return the settings without those that are another spelling of several."""
    return [setting for setting in rulebook.registry.settings.values() if not setting.splits]


def _ordered(rulebook: Rulebook) -> list[Setting]:
    """Return the settings so that those of a group stand together, a group's own before those below it."""
    settings = _written(rulebook)
    order: dict[tuple[str, ...], int] = {}
    for setting in settings:
        keys = tuple(setting.path.split("."))
        for at in range(len(keys)):
            order.setdefault(keys[:at], len(order))
    return sorted(settings, key=lambda setting: _rank(setting, order))


def _rank(setting: Setting, order: dict[tuple[str, ...], int]) -> list[int]:
    keys = tuple(setting.path.split("."))
    return [order[keys[:at]] for at in range(len(keys))]


def _headings(before: Sequence[str], groups: Sequence[str]) -> Iterator[str]:
    """Yield the keys of the groups that begin here."""
    same = 0
    while same < min(len(before), len(groups)) and before[same] == groups[same]:
        same += 1
    if not groups or same == 0:
        yield ""
    for depth in range(same, len(groups)):
        yield f"{'  ' * depth}{groups[depth]}:"


def _about(setting: Setting) -> str:
    return f"{setting.help} ({kind_words(setting).replace('`', '')})"


def _value(rulebook: Rulebook, setting: Setting) -> str:
    if setting.default is not None:
        return literal(setting.default)
    if setting.same_as:
        return _value(rulebook, rulebook.registry.settings[setting.same_as])
    derived = derived_values(rulebook, setting.path)
    return literal(derived[1][0]) if derived and derived[1] else ""


def sample_variables(rulebook: Rulebook) -> str:
    """Return a `.env` with every variable as a comment."""
    lines = [_VARIABLES.rstrip()]
    for setting in _written(rulebook):
        secret = " Secret." if setting.secret else ""
        lines += ["", f"# {_about(setting)}{secret}", f"# {setting.env}={_variable(rulebook, setting)}"]
    return "\n".join(lines) + "\n"


def _variable(rulebook: Rulebook, setting: Setting) -> str:
    value = _value(rulebook, setting)
    return str(json.loads(value)) if value.startswith('"') else value
