"""Load what a rule row names: `package.module:Name`, or `/folder/file.py:Name` of a rule pack.

What comes in: a reference, and the rule file that it stands in. What goes out: the object. Nothing is
imported before it is asked for.
"""

from __future__ import annotations

import importlib.util
import os.path
import re
import sys
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from compozy.errors import RuleTableError

_FORM = re.compile(r"(?:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*|[^:]*\.py):[A-Za-z_]\w*\Z")


def is_reference(text: str) -> bool:
    """Tell whether a text has the form of a reference.

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


def load_reference(reference: str) -> Any:
    """Import the module and return the object in it.

    Raises:
        RuleTableError: there is no such module, file or name, or its code fails to import.
    """
    where, _, name = reference.rpartition(":")
    try:
        module = _file_module(where) if where.endswith(".py") else import_module(where)
        return getattr(module, name)
    except (ImportError, AttributeError, SyntaxError, OSError) as error:
        raise RuleTableError([f"{reference} cannot be imported: {error}"]) from error


def _file_module(path: str) -> ModuleType:
    """Import a file under a name of its own, so that two packs may have files of the same name."""
    name = f"compozy_pack_{sha256(path.encode()).hexdigest()[:16]}"
    loaded = sys.modules.get(name)
    if loaded is not None:
        return loaded
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with _Loading(name):
        spec.loader.exec_module(module)
    return module


class _Loading:
    """Forget a module that fails while it is loaded, and say so whatever it raised."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if kind is None:
            return
        sys.modules.pop(self._name, None)
        if issubclass(kind, Exception):
            raise ImportError(f"{kind.__name__}: {error}") from error
