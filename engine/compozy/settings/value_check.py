"""Check normalised values against the cerberus schema that derives from the registry.

What comes in: a registry and candidates by path. What goes out: problems. Texts were parsed before (`values`),
so that a value has the type of its setting; here cerberus speaks of the rest: allowed values, bounds, fields of lists.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any

from compozy.base.place import Origin
from compozy.base.suggest import closest
from compozy.settings.endpoint import stated_parts
from compozy.settings.identity_key import ById
from compozy.settings.mask import told
from compozy.settings.origin import Candidate, Problem
from compozy.settings.redact import redact_value, secrets_in
from compozy.settings.registry import Registry, Setting
from compozy.settings.stated import is_weaker, part_value, rank
from compozy.settings.values import KEY_LENGTH, form_words, has_form, is_loopback

# How the name of a flag ends whose value was read from a file.
FROM_FILE = "=@"

if TYPE_CHECKING:
    from cerberus import Validator

_TYPES = {
    "text": "string", "url": "string", "path": "string", "choice": "string", "host": "string",
    "listen_address": "string",
    "integer": "integer", "number": "number", "boolean": "boolean", "duration": "number", "size": "integer",
    "list": "list", "map": "dict",
}  # fmt: skip


def cerberus_schema(registry: Registry) -> dict[str, Any]:
    """Return the schema of a flat document: setting path -> normalised value."""
    return {path: _rules(setting) for path, setting in registry.settings.items()}


def _rules(setting: Setting) -> dict[str, Any]:
    rules: dict[str, Any] = {"type": _TYPES[setting.type], "nullable": True}
    if setting.allowed:
        rules["allowed"] = list(setting.allowed)
    if setting.minimum is not None:
        rules["min"] = setting.minimum
    return rules


class _Checker:
    """The validators of one registry, made once; one thread at a time may use them.

    The elements of a list are looked at one by one: cerberus compares every two errors that it finds at once.
    """

    def __init__(self, registry: Registry) -> None:
        from cerberus import Validator

        self.validator: Validator = Validator(cerberus_schema(registry))
        self.elements: dict[str, Validator] = {
            path: Validator({name: _rules(item) for name, item in setting.items.items()})
            for path, setting in registry.settings.items()
            if setting.items
        }
        self.turn = Lock()

    def errors(self, document: Mapping[str, Any]) -> Iterator[tuple[tuple[Any, ...], Any]]:
        """Yield path and cerberus error of everything that breaks the schema."""
        with self.turn:
            yield from _errors(self.validator, document)
            for path, validator in self.elements.items():
                for at, element in enumerate(document.get(path) or ()):
                    for keys, error in _errors(validator, element):
                        yield (path, at, *keys), error


def _errors(validator: Validator, document: Mapping[str, Any]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if not validator.validate(document, normalize=False):
        # cerberus shows rule and value of an error only here
        yield from _flat(validator._errors)


def _is_constrained(setting: Setting) -> bool:
    return bool(setting.allowed or setting.minimum is not None or setting.items)


@lru_cache(maxsize=8)
def _checker(key: ById[Registry]) -> _Checker:
    return _Checker(key.record)


def check(registry: Registry, candidates: Mapping[str, Candidate], unused: Collection[str] = ()) -> list[Problem]:
    """Return one problem for each value that breaks the schema, in the order of the schema's paths.

    Parts of an address in `unused` are not compared, because nothing connects there in this configuration.
    """
    settings = registry.settings
    problems = [found for path, one in candidates.items() for found in _beside_schema(settings[path], one)]
    addresses = [settings[path] for path in candidates if settings[path].parts and path not in unused]
    problems += [found for address in addresses for found in _lost_parts(address, settings, candidates)]
    problems += [found for path in candidates for found in _open_listener(settings[path], candidates)]
    document = {path: one.value for path, one in candidates.items() if _is_constrained(settings[path])}
    if not document:
        return problems  # cerberus takes 15 ms to import
    found = list(_checker(ById(registry)).errors(document))
    return problems + [_problem(registry, candidates, keys, error) for keys, error in found]


def _beside_schema(setting: Setting, candidate: Candidate) -> Iterator[Problem]:
    """Yield what cerberus has no words for: addresses, and fields that tell elements apart."""
    if not has_form(setting, candidate.value):
        says = "" if setting.secret else told(redact_value(setting, candidate.value))
        facts = {"expected": form_words(setting), "says": says}
        yield Problem("type", setting.path, candidate.origin, facts)
    for item in setting.items.values():
        if item.unique:
            yield from _doubled(setting, item, candidate)
    if setting.unused and candidate.value not in (None, "", [], {}):
        yield Problem("unused", setting.path, candidate.origin)
    if _is_visible_secret(setting, candidate):
        yield Problem("secret-on-command-line", setting.path, candidate.origin, {"variable": setting.env})


def _is_visible_secret(setting: Setting, candidate: Candidate) -> bool:
    """Return True if a secret is an argument of the process, which every user of the machine may list."""
    name = candidate.origin.name or ""
    on_command_line = (
        candidate.origin.kind == "flag"
        and not candidate.address
        and name.startswith("--")
        and not name.endswith(FROM_FILE)
    )
    return on_command_line and any(secrets_in(setting, candidate.value))


def _lost_parts(
    setting: Setting, settings: Mapping[str, Setting], candidates: Mapping[str, Candidate]
) -> Iterator[Problem]:
    """Yield each part of an address that its own setting states differently in the same source.

    Where no single value can take the place of a part, as of the ports of several hosts, a higher source loses as well.
    """
    address = candidates[setting.path]
    for name, text in stated_parts(str(address.value)).items():
        part = settings.get(setting.parts.get(name, ""))
        own = candidates.get(part.path) if part else None
        if part is None or own is None or own.address or own.value == "":
            continue
        stated = part_value(part, text)
        loses = rank(own) == rank(address) or (stated is None and rank(own) < rank(address))
        if loses and stated != own.value and not is_weaker(part, stated, own.value):
            facts = {"path": setting.path, "other": str(address.origin.place or address.origin)}
            yield Problem("two-spellings", part.path, own.origin, facts)


def _open_listener(setting: Setting, candidates: Mapping[str, Candidate]) -> Iterator[Problem]:
    """Yield a listener that other machines reach although it does not ask them for a key of sufficient length."""
    address = candidates[setting.path]
    if setting.type != "listen_address" or is_loopback(address.value) or not has_form(setting, address.value):
        return
    facts = {"address": str(redact_value(setting, address.value)) or '""'}
    if setting.authenticated_by is None:
        yield Problem("open-listener", setting.path, address.origin, facts)
        return
    key = candidates.get(setting.authenticated_by)
    if key is None or len(str(key.value)) < KEY_LENGTH:
        facts |= {"setting": setting.authenticated_by, "length": str(KEY_LENGTH)}
        facts |= {"state": "which is shorter" if key is not None and key.value else "which is not set"}
        yield Problem("open-listener-key", setting.path, address.origin, facts)


def _doubled(setting: Setting, item: Setting, candidate: Candidate) -> Iterator[Problem]:
    seen: dict[Any, int] = {}
    for at, element in enumerate(candidate.value):
        value = element.get(item.path)
        first = seen.setdefault(value, at)
        if value is not None and first != at:
            key = f"{setting.path}[{at}].{item.path}"
            other = str(candidate.parts.get(f"{setting.path}[{first}].{item.path}", candidate.origin))
            yield Problem(
                "doubled", key, candidate.parts.get(key, candidate.origin), {"value": str(value), "other": other}
            )


def _flat(errors: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    for error in errors:
        if error.child_errors:
            yield from _flat(error.child_errors)
        else:
            yield error.document_path, error


def _problem(registry: Registry, candidates: Mapping[str, Candidate], keys: tuple[Any, ...], error: Any) -> Problem:
    setting, key = registry.settings[keys[0]], keys[0]
    for part in keys[1:]:
        key += f"[{part}]" if isinstance(part, int) else f".{part}"
        setting = setting if isinstance(part, int) else setting.items.get(part, setting)
    candidate = candidates[keys[0]]
    origin: Origin = candidate.parts.get(key, candidate.origin)
    shown = isinstance(error.value, str | int | float) and not setting.secret
    says = told(error.value) if shown else ""
    if error.rule == "allowed":
        suggestion = closest(str(error.value), setting.values) or ""
        value = says.removeprefix("it says ") or "this"
        facts = {"value": value, "allowed": ", ".join(setting.values), "suggestion": suggestion}
        return Problem("not-allowed", key, origin, facts)
    if error.rule == "min":
        return Problem("too-small", key, origin, {"says": says, "minimum": str(setting.minimum)})
    return Problem("type", key, origin, {"expected": f"expected a {setting.type}", "says": says})
