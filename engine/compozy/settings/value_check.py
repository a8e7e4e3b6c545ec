"""Check every value that a source gives against the cerberus schema that derives from the registry.

Texts were parsed before (`values`), so that a value has the type of its setting or is a problem of its source already.
What concerns several settings, such as the parts of an address, is checked here as well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING

from compozy.base.place import Origin
from compozy.base.suggest import closest
from compozy.settings.endpoint import stated_parts
from compozy.settings.identity_key import ById
from compozy.settings.list_check import list_problems
from compozy.settings.mask import found_masked
from compozy.settings.origin import Candidate, Problem
from compozy.settings.redact import redact_value, secrets_in
from compozy.settings.registry import Registry, Setting
from compozy.settings.stated import is_weaker, part_value, rank
from compozy.settings.values import KEY_LENGTH, form_words, from_text, has_form, is_loopback

if TYPE_CHECKING:
    from cerberus.errors import ValidationError

Path = tuple[str | int, ...]

# How the name of a flag ends whose value was read from a file.
FROM_FILE = "=@"


class _Checker:
    """The validator of some settings and of what lists and maps among them hold; one thread at a time may use it.

    The elements of a list are validated one by one: cerberus compares every two errors that it finds at once.
    """

    def __init__(self, settings: Mapping[str, Setting]) -> None:
        from compozy.settings.validator import make_validator

        self.validator = make_validator(settings)
        self.inner = {path: _Checker(setting.fields) for path, setting in settings.items() if setting.fields}
        self.turn = Lock()

    def errors(self, document: Mapping[str, object]) -> Iterator[tuple[Path, ValidationError]]:
        """Yield path and cerberus error of everything that breaks the schema."""
        with self.turn:
            if not self.validator.validate(document, normalize=False):
                yield from ((error.document_path, error) for error in _first_of_each(self.validator.errors))
        for path, checker in self.inner.items():
            for at, fields in _elements(document.get(path)):
                for keys, error in checker.errors(fields):
                    yield (path, *at, *(key for key in keys if key != "")), error


def _elements(value: object) -> Iterator[tuple[tuple[int, ...], Mapping[str, object]]]:
    """Yield the elements of a list, or a map itself, as mappings, with the place of each in the list."""
    if isinstance(value, dict):
        yield (), value
    for at, element in enumerate(value if isinstance(value, list) else ()):
        yield (at,), element if isinstance(element, dict) else {"": element}


def _first_of_each(errors: Iterable[ValidationError]) -> Iterable[ValidationError]:
    """Return one error for each value; one that is too long is not described by its form as well."""
    found: dict[Path, ValidationError] = {}
    for error in sorted(errors, key=lambda one: one.code):
        found.setdefault(error.document_path, error)
    return found.values()


@lru_cache(maxsize=64)
def _checker(key: ById[Registry], paths: frozenset[str]) -> _Checker:
    """Return the checker of some settings; cerberus takes longer to verify a schema of all than to validate with it."""
    return _Checker({path: setting for path, setting in key.record.settings.items() if path in paths})


def check(
    registry: Registry,
    candidates: Mapping[str, Candidate],
    unused: Collection[str] = (),
    shadowed: Iterable[Mapping[str, Candidate]] = (),
) -> list[Problem]:
    """Return one problem for each value that breaks the schema, `shadowed` ones included.

    Parts of an address in `unused` are not compared, because nothing connects there in this configuration.
    """
    settings = registry.settings
    problems = [found for path, one in candidates.items() for found in _beside_schema(settings[path], one)]
    addresses = [settings[path] for path in candidates if settings[path].parts and path not in unused]
    problems += [found for address in addresses for found in _lost_parts(address, settings, candidates)]
    problems += [found for address in addresses for found in _unreadable_parts(address, settings, candidates)]
    problems += [found for path in candidates for found in _open_listener(settings[path], candidates)]
    problems += list_problems(settings, candidates)
    for given in (candidates, *shadowed):
        problems += _outside_schema(registry, given)
    return problems


def _outside_schema(registry: Registry, candidates: Mapping[str, Candidate]) -> Iterator[Problem]:
    # cerberus takes 15 ms to import, so it is not imported where no value is written.
    if candidates:
        document = {path: one.value for path, one in candidates.items()}
        for keys, error in _checker(ById(registry), frozenset(document)).errors(document):
            yield _problem(registry, candidates, keys, error)


def _beside_schema(setting: Setting, candidate: Candidate) -> Iterator[Problem]:
    """Yield what is wrong with a value beside its schema: doubled names, values without a use, visible secrets."""
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
        # Of different sources the higher one wins silently, which is the documented precedence; within one source
        # neither does.
        loses = rank(own) == rank(address) or (stated is None and rank(own) < rank(address))
        if loses and stated != own.value and not is_weaker(part, stated, own.value):
            facts = {"path": setting.path, "other": str(address.origin.place or address.origin)}
            yield Problem("two-spellings", part.path, own.origin, facts)


def _unreadable_parts(
    setting: Setting, settings: Mapping[str, Setting], candidates: Mapping[str, Candidate]
) -> Iterator[Problem]:
    """Yield each part of an address that its own setting cannot hold; several hosts have several ports."""
    address = candidates[setting.path]
    parts = stated_parts(str(address.value)) if has_form(setting, address.value) else {}
    for name, text in parts.items():
        part = settings.get(setting.parts.get(name, ""))
        if part is None or not text or "," in text:
            continue
        try:
            from_text(part, text, "/")
        except ValueError as error:
            found = "" if part.secret else found_masked(text)
            yield Problem("type", part.path, address.origin, {"expected": str(error), "found": found})


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
    seen: dict[object, int] = {}
    for at, element in enumerate(candidate.value):
        value = element.get(item.path)
        first = seen.setdefault(value, at)
        if value is not None and first != at:
            key = f"{setting.path}[{at}].{item.path}"
            other = str(candidate.parts.get(f"{setting.path}[{first}].{item.path}", candidate.origin))
            yield Problem(
                "doubled", key, candidate.parts.get(key, candidate.origin), {"value": str(value), "other": other}
            )


def _problem(registry: Registry, candidates: Mapping[str, Candidate], keys: Path, error: ValidationError) -> Problem:
    path = key = str(keys[0])
    setting = registry.settings[path]
    for part in keys[1:]:
        key += f"[{part}]" if isinstance(part, int) else f".{part}"
        setting = setting if isinstance(part, int) else setting.items[part]
    setting = setting.element if setting.of and isinstance(keys[-1], int) else setting
    candidate = candidates[path]
    origin: Origin = candidate.parts.get(key, candidate.origin)
    kind, facts = _fault(setting, error)
    return Problem(kind, key, origin, facts)


def _found(setting: Setting, error: ValidationError) -> str:
    """Return the words that quote a value, without secrets."""
    shown = isinstance(error.value, str | int | float) and not setting.secret
    return found_masked(redact_value(setting, error.value)) if shown else ""


def _fault(setting: Setting, error: ValidationError) -> tuple[str, Mapping[str, str]]:
    """Return the kind of the problem with a value that breaks a rule of cerberus, and its facts."""
    found, bound = _found(setting, error), str(error.constraint)
    match error.rule:
        case "allowed":
            value = found.removeprefix("found ") or "this"
            suggestion = closest(str(error.value), setting.values) or ""
            return "not-allowed", {"value": value, "allowed": ", ".join(setting.values), "suggestion": suggestion}
        case "min":
            return "too-small", {"found": found, "minimum": bound}
        case "max":
            return "too-large", {"found": found, "maximum": bound}
        case "maxlength":
            return "too-long", {"length": str(len(error.value)), "longest": bound}
        case "form":
            return "type", {"expected": form_words(setting), "found": found}
        case _:
            return "type", {"expected": f"expected a {setting.type}", "found": found}
