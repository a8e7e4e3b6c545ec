"""A version of rules, named on the command line: the shipped ones, a folder, or a folder or file of a git revision."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from compozy.base.findings import raise_errors
from compozy.base.source_file import YAML_ENDINGS, UnreadableError, decoded, is_leftover
from compozy.errors import RuleTableError, UsageError
from compozy.rulebook import Rulebook, check_rules
from compozy.rulebook.constraints import NEVER
from compozy.rulebook.files import pack_files, shipped_texts
from compozy.rulebook.rows import SettingsCatalogue
from compozy.rulebook.viewer import SettingViewer
from compozy.tables.difference import Comparison, JoinedCatalogue, compare_tables

SHIPPED = "shipped"
# A revision that begins with a hyphen is not an option of git.
_END = "--end-of-options"
# A folder with an initial state of its own is a whole set of rules; any other one is a pack over the shipped rules.
_LIFECYCLE = re.compile(r"^states:(?:\n[ #-].*)*\binitial: *true", re.MULTILINE)


def read_version(name: str) -> Rulebook:
    """Read and verify a version: `shipped`, a folder, or `REVISION:FOLDER` of the git repository around us.

    Raises:
        UsageError: the folder, or the revision or its folder, does not exist.
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
    if in_revision(name):
        revision, _, folder = name.partition(":")
        return _revision_texts(revision, folder or ".")
    if not Path(name).is_dir():
        raise UsageError(f"{name} is not a directory", hint="name a folder of rule files, or REVISION:FOLDER")
    return dict(pack_files(name))


def in_revision(name: str) -> bool:
    """Return whether a name is that of a folder or file of a git revision; an existing file with a colon is not."""
    return ":" in name and not Path(name).exists()


def _revision_texts(revision: str, folder: str) -> Mapping[str, str]:
    listed = _git("ls-tree", "-r", "-z", "--name-only", _END, revision, "--", f"{folder.rstrip('/')}/")
    names = sorted(
        name for name in os.fsdecode(listed).split("\0")[:-1] if _is_rule_file(os.path.relpath(name, folder))
    )
    if not names:
        raise UsageError(f"revision {revision} has no rule files in {folder}", hint="name a folder, as in HEAD:rules")
    return {f"{revision}:{name}": revision_file(f"{revision}:{name}") for name in names}


def _is_rule_file(name: str) -> bool:
    # The same files as in a folder on disk; see `list_sources`.
    return name.endswith(YAML_ENDINGS) and not any(map(is_leftover, name.split(os.sep)))


def revision_file(name: str) -> str:
    """Return the text of a file of a git revision, `REVISION:FILE` from the working directory.

    Raises:
        UsageError: the revision or its file does not exist, or the file is not text.
    """
    revision, _, path = name.partition(":")
    try:
        return decoded(_git("cat-file", "blob", _END, f"{revision}:./{path}"))
    except UnreadableError as error:
        raise UsageError(f"{name} cannot be read: {error}", hint="name a rule file or a decision file") from error


def _git(*arguments: str) -> bytes:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, check=False)
    except FileNotFoundError as error:
        raise UsageError("git is not installed", hint="name two folders instead") from error
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().removeprefix("fatal: ")
        raise UsageError(f"git: {reason}", hint="name a revision and a folder or file, as in HEAD:rules")
    return done.stdout


def compare_versions(old: Rulebook, new: Rulebook) -> Comparison:
    """Compare what two versions decide, table by table; witnesses are configurations of the new one."""
    tables = new.ruleset.tables
    both = JoinedCatalogue(SettingsCatalogue(old.registry), SettingsCatalogue(new.registry))
    viewer = SettingViewer(new.registry, tables.values(), new.never.tables[NEVER].rows)
    found = compare_tables(old.ruleset.tables, tables, both, viewer)
    excluded = compare_tables(old.never.tables, new.never.tables, both, SettingViewer(new.registry, ()))
    differences = (*excluded.differences, *found.differences)
    return replace(found, differences=differences, cut=(*excluded.cut, *found.cut))
