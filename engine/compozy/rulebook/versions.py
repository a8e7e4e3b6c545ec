"""A version of the rules, named on the command line: the shipped ones, a folder, or a folder of a git revision."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from compozy.errors import UsageError
from compozy.rulebook import Rulebook, check_rules
from compozy.rulebook.files import pack_files, shipped_texts
from compozy.rulebook.rows import SettingsCatalogue
from compozy.rulebook.sights import SettingViewer
from compozy.settings.faults import refuse
from compozy.tables.difference import Comparison, compare_tables
from compozy.tables.table import Domain, Source

SHIPPED = "shipped"
# A folder with a lifecycle of its own is a whole set of rules; any other one is a pack over the shipped rules.
_LIFECYCLE = re.compile(r"^(states|transitions):", re.MULTILINE)


def read_version(name: str) -> Rulebook:
    """Read and verify a version: `shipped`, a folder, or `REVISION:FOLDER` of the git repository around us.

    Raises:
        UsageError: the revision or its folder does not exist.
        RuleTableError: the rules of the version are not valid.
    """
    texts = {} if name == SHIPPED else _texts(name)
    whole = any(_LIFECYCLE.search(text) for text in texts.values())
    checked = check_rules(texts if whole else {**shipped_texts(), **texts})
    refuse(checked.reports)
    assert checked.rulebook is not None  # what cannot be read is among the reports
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


class _Both:
    """The settings of two versions: a domain holds what either version accepts."""

    def __init__(self, old: Rulebook, new: Rulebook) -> None:
        self._old, self._new = SettingsCatalogue(old.registry), SettingsCatalogue(new.registry)

    def domain(self, source: Source) -> Domain | None:
        """Return the domain behind a source, None where neither version knows it."""
        old, new = self._old.domain(source), self._new.domain(source)
        if old is None or new is None or "finite" not in (old.kind, new.kind):
            return new or old
        values = (*new.values, *old.values, *([None] if old.optional or new.optional else []))
        return Domain.finite(values) if old.kind == new.kind else new


def compare_versions(old: Rulebook, new: Rulebook) -> Comparison:
    """Compare what two versions decide, table by table; witnesses are configurations of the new one."""
    tables = new.ruleset.tables
    viewer = SettingViewer(new.registry, tables.values())
    return compare_tables(old.ruleset.tables, tables, _Both(old, new), viewer)
