"""`dataclass` of the standard library, made at a tenth of its cost.

The standard decorator writes and compiles up to eight methods for each class, about 0.4 ms, which was a quarter of the
time of a short command. Here the shared methods are closures, and `__init__` is compiled when it is first used. Fields,
`replace`, `asdict`, pickles and error messages are those of `dataclasses`; ordering is not offered.
"""

from __future__ import annotations

import dataclasses
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from dataclasses import Field
    from dataclasses import dataclass as dataclass  # noqa: TID251

    Methods = dict[str, Any]

_UNSET = object()
_set, _delete = object.__setattr__, object.__delattr__

if not TYPE_CHECKING:

    def dataclass(cls=None, /, *, frozen=False, eq=True, repr=True, slots=False, kw_only=False):  # noqa: A002
        """Add the methods of a data class, except those that the class defines itself."""

        def decorate(given):
            own = dict(vars(given))
            # Without methods the standard decorator only collects the fields.
            standard = dataclasses.dataclass  # noqa: TID251
            made = standard(init=False, repr=False, eq=False, slots=slots, kw_only=kw_only)(given)
            fields = dataclasses.fields(made)
            methods = {"__init__": _LateInit(made, fields)}
            methods |= _shown(fields) if repr else {}
            methods |= _compared(fields, frozen, own) if eq else {}
            methods |= _frozen(made, [field.name for field in fields], slots) if frozen else {}
            for name, method in methods.items():
                if own.get(name) is None:
                    setattr(made, name, method)
            return made

        return decorate if cls is None else decorate(cls)


class _LateInit:
    """An `__init__` that is compiled when it is first looked up."""

    def __init__(self, made: type, fields: Sequence[Field[object]]) -> None:
        self._made, self._fields = made, fields

    def __get__(self, instance: object, owner: type) -> Callable[..., None]:
        known: Methods = {"_set": _set, "_unset": _UNSET}
        text = "\n ".join((f"def __init__({', '.join(_parameters(self._fields, known))}):", *self._body()))
        exec(text, known)  # noqa: S102 - names of fields only, as `dataclasses` does
        init = known["__init__"]
        init.__qualname__, init.__module__ = f"{self._made.__qualname__}.__init__", self._made.__module__
        self._made.__init__ = init  # type: ignore[misc]
        return init if instance is None else init.__get__(instance, owner)  # type: ignore[no-any-return]

    def _body(self) -> Iterator[str]:
        for field in self._fields:
            name = field.name
            if field.default_factory is not dataclasses.MISSING:
                made = f"_f_{name}()"
                yield f"_set(self, {name!r}, {f'{made} if {name} is _unset else {name}' if field.init else made})"
            elif field.init:
                yield f"_set(self, {name!r}, {name})"
            elif field.default is not dataclasses.MISSING:
                yield f"_set(self, {name!r}, _d_{name})"
        yield "self.__post_init__()" if hasattr(self._made, "__post_init__") else "pass"


def _parameters(fields: Sequence[Field[object]], known: Methods) -> Iterator[str]:
    """Yield the parameters of `__init__`; their defaults are added to `known`."""
    yield "self"
    named = False
    for field in sorted(fields, key=lambda field: bool(field.kw_only)):
        known[f"_d_{field.name}"], known[f"_f_{field.name}"] = field.default, field.default_factory
        if not field.init:
            continue
        if field.kw_only and not named:
            named = True
            yield "*"
        if field.default is not dataclasses.MISSING:
            yield f"{field.name}=_d_{field.name}"
        else:
            yield field.name if field.default_factory is dataclasses.MISSING else f"{field.name}=_unset"


def _shown(fields: Sequence[Field[object]]) -> Methods:
    names = [field.name for field in fields if field.repr]

    def __repr__(self: object) -> str:  # noqa: N807
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    return {"__repr__": __repr__}


def _compared(fields: Sequence[Field[object]], frozen: bool, own: Mapping[str, object]) -> Methods:
    get = _values([field.name for field in fields if field.compare])
    hashed = _values([field.name for field in fields if (field.compare if field.hash is None else field.hash)])

    def __eq__(self: object, other: object) -> bool:  # noqa: N807
        return get(self) == get(other) if other.__class__ is self.__class__ else NotImplemented

    def __hash__(self: object) -> int:  # noqa: N807
        return hash(hashed(self))

    return {"__eq__": __eq__, "__hash__": __hash__ if frozen else None}


def _values(names: Sequence[str]) -> Callable[[object], object]:
    """Return a function that returns the values of these attributes as a tuple."""
    # With one name `attrgetter` would return the value alone, which compares unlike a tuple.
    return attrgetter(*names, *names) if len(names) == 1 else attrgetter(*names) if names else lambda _: ()


def _frozen(made: Any, names: Sequence[str], slots: bool) -> Methods:
    def __setattr__(self: object, name: str, value: object) -> None:  # noqa: N807
        if type(self) is made or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
        super(made, self).__setattr__(name, value)

    def __delattr__(self: object, name: str) -> None:  # noqa: N807
        if type(self) is made or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
        super(made, self).__delattr__(name)

    def __getstate__(self: object) -> list[object]:  # noqa: N807
        return [getattr(self, name) for name in names]

    def __setstate__(self: object, state: Sequence[object]) -> None:  # noqa: N807
        for name, value in zip(names, state, strict=True):
            _set(self, name, value)

    kept = {"__getstate__": __getstate__, "__setstate__": __setstate__} if slots else {}
    return {"__setattr__": __setattr__, "__delattr__": __delattr__, **kept}
