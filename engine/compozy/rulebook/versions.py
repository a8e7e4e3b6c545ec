"""A version of the rules, named on the command line: the shipped ones, a folder, or a folder of a git revision."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from compozy.base.findings import raise_errors
from compozy.errors import RuleTableError, UsageError
from compozy.rulebook import Rulebook, check_rules
from compozy.rulebook.constraints import NEVER
from compozy.rulebook.files import pack_files, shipped_texts
from compozy.rulebook.rows import SettingsCatalogue
from compozy.rulebook.viewer import SettingViewer
from compozy.tables.difference import Comparison, JoinedCatalogue, compare_tables

SHIPPED = "shipped"
# A folder with an initial state of its own is a whole set of rules; any other one is a pack over the shipped rules.
_LIFECYCLE = re.compile(r"^states:(?:\n[ #-].*)*\binitial: *true", re.MULTILINE)


def read_version(name: str) -> Rulebook:
    """Read and verify a version: `shipped`, a folder, or `REVISION:FOLDER` of the git repository around us.

    Raises:
        UsageError: the revision or its folder does not exist.
        RuleTableError: the rules of the version are not valid.
    """
    texts = {} if name == SHIPPED else _texts(name)
    whole = any(_LIFECYCLE.search(text) for text in texts.values())
    checked = check_rules(texts if whole else {**shipped_texts(), **texts})
    raise_errors(checked.findings, RuleTableError)
    # What cannot be read is among the findings.
    assert checked.rulebook is not None
    return checked.rulebook


def _texts(name: str) -> Mapping[str, str]:
    revision, separator, folder = name.partition(":")
    if separator and not Path(name).exists():
        return _revision_texts(revision, folder or ".")
    return dict(pack_files(name))


def _revision_texts(revision: str, folder: str) -> Mapping[str, str]:
    listed = _git("ls-tree", "-r", "-z", "--name-only", revision, "--", f"{folder.rstrip('/')}/")
    names = sorted(name for name in listed.split("\0") if name.endswith(".yaml"))
    if not names:
        raise UsageError(f"revision {revision} has no rule files in {folder}", hint="name a folder, as in HEAD:rules")
    return {f"{revision}:{name}": _git("cat-file", "blob", f"{revision}:./{name}") for name in names}


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, check=False)
    except FileNotFoundError as error:
        raise UsageError("git is not installed", hint="name two folders instead") from error
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().removeprefix("fatal: ")
        raise UsageError(f"git: {reason}", hint="name a revision and a folder, as in HEAD:rules")
    return done.stdout.decode(errors="replace")


def compare_versions(old: Rulebook, new: Rulebook) -> Comparison:
    """Compare what two versions decide, table by table; witnesses are configurations of the new one."""
    tables = new.ruleset.tables
    both = JoinedCatalogue(SettingsCatalogue(old.registry), SettingsCatalogue(new.registry))
    viewer = SettingViewer(new.registry, tables.values(), new.never.tables[NEVER].rows)
    found = compare_tables(old.ruleset.tables, tables, both, viewer)
    excluded = compare_tables(old.never.tables, new.never.tables, both, SettingViewer(new.registry, ()))
    differences = (*excluded.differences, *found.differences)
    return replace(found, differences=differences, cut=(*excluded.cut, *found.cut))
