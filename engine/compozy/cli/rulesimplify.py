"""`compozy rules simplify`: propose simpler rules, each proven to decide the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Unpack

import click

from compozy.base.findings import raise_errors
from compozy.base.record import dataclass
from compozy.base.source_file import read_source
from compozy.cli.completion import FILE
from compozy.cli.options import format_option
from compozy.cli.output import print_json, print_line, styled
from compozy.cli.places import place_json, relative
from compozy.cli.rulefiles import read_valid, refuse_packs
from compozy.cli.rulefix import decision_text, own_files
from compozy.cli.ruleoptions import RuleOptions, pack_folders, rules_options
from compozy.errors import RuleTableError, UsageError
from compozy.rulebook import check_rules, pack_files
from compozy.rulebook.files import rule_texts, shipped_texts
from compozy.rulebook.rows import Rulebook, SettingsCatalogue
from compozy.rulebook.versions import SHIPPED, compare_versions

if TYPE_CHECKING:
    from compozy.tables.rowfiles import RowFiles
    from compozy.tables.simplify import Proposal, Simplifier

SIMPLER = 1
_NOT_WRITTEN = "is not written: the changed file would not decide the same; edit it yourself"


@dataclass(frozen=True, slots=True)
class _Rules:
    """The rules to simplify: the texts that may be changed, and whether other texts decide the same."""

    simplifier: Simplifier
    texts: Mapping[str, str]
    same: Callable[[Mapping[str, str]], bool]


@click.command(epilog="Example: compozy rules simplify ./my-pack --fix")
@rules_options
@format_option()
@click.option("--fix", is_flag=True, help="Write the proposals into your rule files.")
@click.argument("names", metavar="[FOLDER|FILE]...", nargs=-1, type=FILE)
def simplify(names: Sequence[str], fix: bool, format_: str, **where: Unpack[RuleOptions]) -> int:
    """Propose simpler rules that decide the same.

    These are cells that list everything, rows that merge or change nothing, hit policies that can be unique, and unused
    inputs. Each FOLDER is a rule pack, or `shipped`; without one, all packs in force except installed ones. Each FILE
    is a decision file. Every proposal is proven as `rules diff` compares. The exit code is 1 when there are
    proposals, with --fix when one was not written.
    """
    for name in names:
        if name != SHIPPED and not os.path.exists(name):
            raise UsageError(f"{name} does not exist", hint="name a folder of rule files, or a decision file")
    if fix:
        _refuse_others(names)
    rules = _read_files(names, where) if any(map(os.path.isfile, names)) else _read_packs(names, where)
    proposals = list(rules.simplifier.proposals())
    written = _written(rules, proposals) if fix else None
    {"text": _print_text, "json": _print_json}[format_](proposals, written, rules.simplifier.steps_left < 0)
    return SIMPLER if len(written or ()) < len(proposals) else 0


def _refuse_others(names: Sequence[str]) -> None:
    """Refuse to change rules that are not the user's.

    Raises:
        UsageError: one of the names is `shipped`, an installed pack or a DMN model.
    """
    if SHIPPED in names:
        raise UsageError("the shipped rules are not changed", hint="a pack changes them: extends, replaces, removes")
    for name in names:
        if os.path.isfile(name):
            decision_text(name)
        else:
            own_files([os.path.abspath(name)])


def _read_packs(names: Sequence[str], where: RuleOptions) -> _Rules:
    from compozy.tables.simplify import Simplifier

    folders = [os.path.abspath(name) for name in names if name != SHIPPED]
    packs = tuple(dict.fromkeys([*pack_folders(**where), *folders]))
    texts = rule_texts(packs)
    old = _valid(texts)
    named = {name for folder in folders for name, _ in pack_files(folder)} if names else set(own_files(packs))
    files = named | set(shipped_texts() if SHIPPED in names else ())

    def same(current: Mapping[str, str]) -> bool:
        checked = check_rules({**texts, **current})
        return checked.valid and checked.rulebook is not None and compare_versions(old, checked.rulebook).same

    simplifier = Simplifier(old.ruleset.tables, SettingsCatalogue(old.registry), old.ruleset.viewer, files)
    return _Rules(simplifier, {name: text for name, text in texts.items() if name in files}, same)


def _valid(texts: Mapping[str, str]) -> Rulebook:
    checked = check_rules(texts)
    raise_errors(checked.findings, RuleTableError)
    # What cannot be read is among the findings.
    assert checked.rulebook is not None
    return checked.rulebook


def _read_files(names: Sequence[str], where: RuleOptions) -> _Rules:
    from compozy.decisions import compare_decisions, verify_decisions
    from compozy.decisions.decision_file import parse_decisions
    from compozy.tables.simplify import Simplifier

    refuse_packs(where)
    if len(names) > 1:
        raise UsageError("one decision file is simplified at a time", hint="name one FILE, or folders of rule packs")
    (name,) = names
    old, text = read_valid(name), read_source(name)
    raise_errors(verify_decisions(old).findings, RuleTableError)

    def same(current: Mapping[str, str]) -> bool:
        new = parse_decisions(current[name], name)
        return verify_decisions(new).valid and compare_decisions(old, new).same

    return _Rules(Simplifier(old.ruleset.tables, old, None, {name}), {name: text}, same)


def _written(rules: _Rules, proposals: Sequence[Proposal]) -> list[Proposal]:
    """Write the proposals: all together or, where the files would then not decide the same, those that do."""
    files, written = _edited(rules, proposals), list(proposals)
    if files is None:
        files, written = _edited(rules, ()), []
        for proposal in proposals:
            following = _edited(rules, [*written, proposal])
            if following is not None:
                files, written = following, [*written, proposal]
    if files is not None:
        files.write()
    return written


def _edited(rules: _Rules, proposals: Sequence[Proposal]) -> RowFiles | None:
    """Return the files with the edits of proposals; None where they would not decide the same."""
    from compozy.tables.rowfiles import RowFiles, apply_edits

    files = RowFiles(dict(rules.texts))
    apply_edits(files, [edit for proposal in proposals for edit in proposal.edits])
    return files if not proposals or rules.same(files.current()) else None


def _print_text(proposals: Sequence[Proposal], written: Sequence[Proposal] | None, stopped: bool) -> None:
    for proposal in proposals:
        places = " and ".join(relative(str(place)) for place in proposal.places)
        head = f'{places}: {styled(proposal.kind, "warning")}: table "{proposal.table}": {proposal.message}'
        print_line(head + ("" if written is None or proposal in written else f"\n  {_NOT_WRITTEN}"))
    if stopped:
        print_line("the search was stopped after its budget of steps; there may be further proposals")
    count = "1 proposal" if len(proposals) == 1 else f"{len(proposals)} proposals"
    done = "" if written is None else f", {len(written)} written"
    print_line(f"{count}, proven to decide the same{done}" if proposals else "nothing to simplify")


def _print_json(proposals: Sequence[Proposal], written: Sequence[Proposal] | None, stopped: bool) -> None:
    print_json(
        {
            "proposals": [
                {
                    "id": proposal.kind,
                    "table": proposal.table,
                    "message": proposal.message,
                    "where": place_json(proposal.places[0]),
                    "also": [place_json(place) for place in proposal.places[1:]],
                    "written": proposal in (written or ()),
                }
                for proposal in proposals
            ],
            "more": stopped,
        }
    )
