"""Data classes of `compozy.base.record` behave as those of the standard library."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from compozy.base import record

DECORATORS = {"standard": dataclasses.dataclass, "own": record.dataclass}


def _records(decorator: Any) -> dict[str, Any]:
    """Return one class of each kind that the engine uses."""

    @decorator(frozen=True, slots=True)
    class Point:
        """Frozen, with defaults of all kinds."""

        kind: ClassVar[str] = "point"
        x: int
        y: float = 0.5
        tags: list[str] = dataclasses.field(default_factory=list)
        secret: str = dataclasses.field(default="", repr=False, compare=False)
        key: tuple[int, ...] = dataclasses.field(init=False, repr=False)

        def __post_init__(self) -> None:
            object.__setattr__(self, "key", (self.x,))

    @decorator(frozen=True, slots=True, kw_only=True)
    class Base:
        """A parent with keywords."""

        name: str
        size: int = 1

    @decorator(frozen=True, slots=True, kw_only=True)
    class Child(Base):
        """A child with one more field."""

        size: int = 2
        items: tuple[str, ...] = ()

    @decorator(slots=True)
    class Changing:
        """Not frozen."""

        value: int
        seen: list[int] = dataclasses.field(init=False, default_factory=list)

    @decorator(frozen=True, eq=False, repr=False)
    class Identity:
        """Compared by identity."""

        value: object

    @decorator(frozen=True)
    class Single:
        """One field."""

        value: object

    @decorator(frozen=True, slots=True)
    class Empty:
        """No field."""

    @decorator(frozen=True, slots=True)
    class Own:
        """Methods of its own."""

        value: int

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 7

        def __repr__(self) -> str:
            return "own"

    return {kind.__name__: kind for kind in (Point, Base, Child, Changing, Identity, Single, Empty, Own)}


def _changed(changing: Any) -> str:
    """Return the text of a record after an assignment."""
    changing.value = 2
    return repr(changing)


CASES: dict[str, Callable[[dict[str, Any]], object]] = {
    "repr": lambda kinds: repr(kinds["Point"](1, tags=["a"], secret="s")),
    "defaults-are-not-shared": lambda kinds: kinds["Point"](1).tags is kinds["Point"](1).tags,
    "post-init": lambda kinds: kinds["Point"](4).key,
    "class-variable": lambda kinds: kinds["Point"].kind,
    "compared-fields": lambda kinds: kinds["Point"](1, secret="a") == kinds["Point"](1, secret="b"),
    "unequal": lambda kinds: kinds["Point"](1) == kinds["Point"](2),
    "other-type": lambda kinds: kinds["Base"](name="a") == kinds["Child"](name="a"),
    "hash-of-equal": lambda kinds: hash(kinds["Single"]("a")) == hash(kinds["Single"]("a")),
    "hash-of-unhashable": lambda kinds: hash(kinds["Point"](1)),
    "hash-of-changing": lambda kinds: hash(kinds["Changing"](1)),
    "nan-is-itself": lambda kinds: kinds["Single"](nan := float("nan")) == kinds["Single"](nan),
    "empty": lambda kinds: (kinds["Empty"]() == kinds["Empty"](), repr(kinds["Empty"]())),
    "empty-hash": lambda kinds: hash(kinds["Empty"]()) == hash(kinds["Empty"]()),
    "identity": lambda kinds: kinds["Identity"](1) == kinds["Identity"](1),
    "identity-repr": lambda kinds: repr(kinds["Identity"](1)).partition(" object at ")[0],
    "own-methods": lambda kinds: (hash(kinds["Own"](1)), repr(kinds["Own"](1)), kinds["Own"](1) == 3),
    "assignment": lambda kinds: setattr(kinds["Point"](1), "x", 2),
    "deletion": lambda kinds: delattr(kinds["Child"](name="a"), "name"),
    "changing": lambda kinds: _changed(kinds["Changing"](1)),
    "no-other-attributes": lambda kinds: setattr(kinds["Changing"](1), "other", 2),
    "too-few": lambda kinds: kinds["Point"](),
    "unknown": lambda kinds: kinds["Point"](1, z=2),
    "not-init": lambda kinds: kinds["Point"](1, key=()),
    "keywords-only": lambda kinds: kinds["Child"]("a"),
    "inherited": lambda kinds: repr(kinds["Child"](name="a", items=("b",))),
    "replace": lambda kinds: repr(dataclasses.replace(kinds["Child"](name="a"), size=5)),
    "replace-unknown": lambda kinds: dataclasses.replace(kinds["Child"](name="a"), other=5),
    "asdict": lambda kinds: dataclasses.asdict(kinds["Point"](1)),
    "copy": lambda kinds: repr(copy.deepcopy(kinds["Point"](1, tags=["a"]))),
    "match": lambda kinds: kinds["Point"].__match_args__,
    "parameters": lambda kinds: [
        (one.name, one.kind, type(one.default)) for one in inspect.signature(kinds["Child"]).parameters.values()
    ],
    "factory-kind": lambda kinds: list(inspect.signature(kinds["Point"]).parameters),
}


def _outcome(case: Callable[[dict[str, Any]], object], decorator: Any) -> object:
    """Return what a case gives, or its error."""
    try:
        return case(_records(decorator))
    except (AttributeError, TypeError) as error:
        return type(error), str(error)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_record_behaves_as_a_standard_data_class(case: Callable[[dict[str, Any]], object]) -> None:
    """Values, errors and their texts are the same."""
    standard, own = (_outcome(case, decorator) for decorator in DECORATORS.values())
    assert own == standard


@record.dataclass(frozen=True, slots=True)
class Kept:
    """A frozen class that can be pickled."""

    value: int
    parts: tuple[str, ...] = ()


def test_frozen_record_survives_a_pickle() -> None:
    """The rules that the cache keeps are pickled records."""
    kept = Kept(3, ("a",))
    assert pickle.loads(pickle.dumps(kept)) == kept


def test_initializer_is_compiled_at_first_use() -> None:
    """A class that a command imports without using it costs no compilation."""

    @record.dataclass(frozen=True)
    class Late:
        """Never used before."""

        value: int

    assert not inspect.isfunction(vars(Late)["__init__"])
    assert Late(1) == Late(1)
    assert inspect.isfunction(vars(Late)["__init__"])
