"""Write the proposed rows of gaps into rule files, for `compozy rules check --fix`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from compozy.base.source_file import UnreadableError, read_source
from compozy.errors import UsageError
from compozy.rulebook import check_rules, installed_packs, pack_files
from compozy.rulebook.files import rule_texts

if TYPE_CHECKING:
    from compozy.base.findings import Finding
    from compozy.tables.rowfiles import AddedRow


def own_files(packs: Sequence[str]) -> dict[str, str]:
    """Return the texts of the rule files that the user may want changed: of packs in force that are not installed.

    Raises:
        UsageError: no such file is in force.
    """
    installed = {os.path.realpath(pack) for pack in installed_packs()}
    found = [pair for pack in packs if os.path.realpath(pack) not in installed for pair in pack_files(pack)]
    if not found:
        hint = "name a rule pack, here or in compozy.yaml; shipped rules and installed packs are not changed"
        raise UsageError("no rule file of yours is in force", hint=hint)
    # A pack that is named twice is in force once.
    in_force = rule_texts(packs)
    return {name: text for name, text in found if name in in_force}


def fixed_packs(packs: Sequence[str]) -> list[AddedRow]:
    """Write the proposed row of each gap into the files of `packs`, and return what was added.

    Raises:
        UsageError: no file may be changed, or one cannot be.
    """
    from compozy.tables.rowfiles import RowFiles, add_rows

    files, texts = RowFiles(own_files(packs)), rule_texts(packs)
    added = add_rows(files, lambda current: check_rules({**texts, **current}).findings)
    files.write()
    return added


def fixed_files(names: Sequence[str]) -> list[AddedRow]:
    """Write the proposed row of each gap into decision files, and return what was added.

    Raises:
        UsageError: a file cannot be read or changed.
    """
    from compozy.decisions import verify_decisions
    from compozy.decisions.decision_file import parse_decisions
    from compozy.tables.rowfiles import RowFiles, add_rows

    def reports(current: Mapping[str, str]) -> Sequence[Finding]:
        return [r for name, text in current.items() for r in verify_decisions(parse_decisions(text, name)).findings]

    files = RowFiles({name: decision_text(name) for name in names})
    added = add_rows(files, reports)
    files.write()
    return added


def decision_text(name: str) -> str:
    """Return the text of a decision file that may be changed.

    Raises:
        UsageError: it is a DMN model, or cannot be read.
    """
    from compozy.decisions import DMN_ENDINGS

    if name.casefold().endswith(DMN_ENDINGS):
        raise UsageError(f"{name} is a DMN model, which is not changed", hint="compozy rules import makes it YAML")
    try:
        return read_source(name)
    except UnreadableError as error:
        raise UsageError(f"{name} cannot be read: {error}", hint="name a decision file") from error
