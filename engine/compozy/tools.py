"""The API for tools of a project: components and secrets, available within one call of a tool."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from compozy.errors import NotFoundError

Lookup = Callable[[str], Any]
_OFFERED: ContextVar[Lookup | None] = ContextVar("compozy_components", default=None)
_SECRETS: ContextVar[Mapping[str, str]] = ContextVar("compozy_secrets")


def no_components(name: str) -> object:
    """Raise the error of a lookup outside of a runtime.

    Raises:
        KeyError: always.
    """
    raise KeyError(name)


def component(name: str) -> object:
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


def secret(name: str) -> str:
    """Return the secret of the setting `secrets`; it is redacted in the tool's result and errors.

    Raises:
        NotFoundError: no runtime calls this tool, or the project has no such secret.
    """
    found = _SECRETS.get({}).get(name)
    if found is None:
        raise NotFoundError("secret", name, hint="declare it under secrets: in compozy.yaml")
    return found


@contextmanager
def offered(lookup: Lookup, secrets: Mapping[str, str] | None = None) -> Iterator[None]:
    """Offer components and secrets to tools that are called inside; `lookup` raises KeyError for an unknown one.

    >>> with offered({"mailer": "the mailer"}.__getitem__):
    ...     component("mailer")
    'the mailer'
    """
    token, secrets_token = _OFFERED.set(lookup), _SECRETS.set(secrets or {})
    try:
        yield
    finally:
        _OFFERED.reset(token)
        _SECRETS.reset(secrets_token)
