"""What a workflow's Python tool may ask of Compozy.

What comes in: the name of a component. What goes out: its handle, the one that the runtime which runs the tool
has. Whoever calls tools says what they may ask for with `offered`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from compozy.errors import NotFoundError

Lookup = Callable[[str], Any]
_OFFERED: ContextVar[Lookup | None] = ContextVar("compozy_components", default=None)


def no_components(name: str) -> Any:
    """Be the lookup where there is no runtime.

    Raises:
        KeyError: always.
    """
    raise KeyError(name)


def component(name: str) -> Any:
    """Return the handle of a component: the peewee database, the Redis client, or what a rule pack's driver gives.

    Raises:
        NotFoundError: no runtime calls this tool, or it has no such component.
    """
    lookup = _OFFERED.get()
    if lookup is None:
        raise NotFoundError("component", name, hint="components are there while a workflow's task calls the tool")
    try:
        return lookup(name)
    except KeyError as error:
        hint = "declare it under components: in a rule pack, and name the pack under rules: in compozy.yaml"
        raise NotFoundError("component", name, hint=hint) from error


@contextmanager
def offered(lookup: Lookup) -> Iterator[None]:
    """Let tools that are called inside ask for components; `lookup` raises KeyError for an unknown one.

    >>> with offered({"mailer": "the mailer"}.__getitem__):
    ...     component("mailer")
    'the mailer'
    """
    token = _OFFERED.set(lookup)
    try:
        yield
    finally:
        _OFFERED.reset(token)
