"""Load the object that a rule row names: `package.module:Name`, or `/folder/file.py:Name` of a rule pack.

A command that only looks at a project imports nothing of it: `project_code` is the one switch, and
`load_reference` and the tools of workflows obey it. Nothing is imported before it is asked for.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from compozy.base.source_file import check_code
from compozy.errors import ForeignCodeError, ProjectCodeError, RuleTableError

IMPORT_S = 30.0

_FORM = re.compile(r"(?:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*|[^:]*\.py):[A-Za-z_]\w*\Z")


class _Switch:
    """The permission to import Python of a project; one for the process, because threads share their modules."""

    allowed = True


@contextmanager
def project_code(*, allowed: bool) -> Iterator[None]:
    """Allow or forbid the import of a project's Python while the block runs."""
    before, _Switch.allowed = _Switch.allowed, allowed
    try:
        yield
    finally:
        _Switch.allowed = before


def is_project_code_allowed() -> bool:
    """Return True unless the command at hand only looks at the project."""
    return _Switch.allowed


def is_reference(text: str) -> bool:
    """Return True if a text has the form of a reference.

    >>> [is_reference(text) for text in ("a.b:C", "./mailer.py:Mailer", "a.b", "a-b:C")]
    [True, True, False, False]
    """
    return _FORM.match(text) is not None


def anchored_reference(reference: str, file: str) -> str:
    """Return a reference to a `.py` file as seen from the folder of the rule file `file`; others stay.

    >>> anchored_reference("./mailer.py:Mailer", "/pack/drivers.yaml")
    '/pack/mailer.py:Mailer'
    """
    where, _, name = reference.rpartition(":")
    if not where.endswith(".py"):
        return reference
    return f"{os.path.normpath(Path(file).parent / where)}:{name}"


def load_reference(reference: str, shipped: Collection[str] = (), limit_s: float = IMPORT_S) -> Any:
    """Import the module and return the object in it; the `shipped` references are not Python of a project.

    Raises:
        RuleTableError: the module, file or name does not exist, or its import raises or takes longer than `limit_s`.
        ProjectCodeError: project code is not allowed here.
        TrustError: another user may write the file.
    """
    if reference in shipped:
        return _imported(reference)
    if not _Switch.allowed:
        raise ProjectCodeError(reference)
    from compozy.base.foreign import call_within

    try:
        return call_within("its import", lambda: _imported(reference), limit_s)
    except ForeignCodeError as error:
        raise RuleTableError.of(f"{reference} cannot be imported: {error.reason}") from error


def _imported(reference: str) -> object:
    where, _, name = reference.rpartition(":")
    try:
        module = _file_module(where) if where.endswith(".py") else import_module(where)
        return getattr(module, name)
    except (ImportError, AttributeError, SyntaxError, OSError) as error:
        raise RuleTableError.of(f"{reference} cannot be imported: {error}") from error


def _file_module(path: str) -> ModuleType:
    """Import a file under a name of its own, so that two packs may have files of the same name."""
    from hashlib import sha256

    # A digest of the path and not the stem: files called alike must not replace each other among the modules.
    name = f"compozy_pack_{sha256(os.fsencode(path)).hexdigest()[:16]}"
    loaded = sys.modules.get(name)
    if loaded is not None:
        return loaded
    check_code(path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    # Before its code runs, as the import system does, so that the module can be pickled or imported by itself.
    sys.modules[name] = module
    with _Loading(name):
        spec.loader.exec_module(module)
    return module


class _Loading:
    """Forget a module whose import fails, and raise ImportError for every exception, `SystemExit` included."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if kind is None:
            return
        sys.modules.pop(self._name, None)
        raise ImportError(f"{kind.__name__}: {error}") from error
