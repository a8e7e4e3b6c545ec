"""The types of a DMN model: from a type reference and a constraint to a domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compozy.base.record import dataclass
from compozy.decisions.feel import FeelError, parse_tests
from compozy.decisions.xml_tree import Element
from compozy.tables.table import ANY, SET, Condition, Domain, Scalar, is_number

BASE = {
    "string": "text", "number": "number", "boolean": "boolean",
    "integer": "integer", "long": "integer", "double": "number", "Any": "any", "": "any",
}  # fmt: skip
_CONSTRAINTS = ("typeConstraint", "allowedValues")
# Item definitions may refer to each other in a circle; this number ends the walk.
_MOST_ALIASES = 20


@dataclass(frozen=True, slots=True)
class Type:
    """A resolved type: `base` is a word of `BASE`, `components` are those of a structure."""

    base: str
    constraint: Condition | None = None
    components: Mapping[str, Element] | None = None


class Types:
    """The item definitions of a model."""

    def __init__(self, definitions: Element) -> None:
        self._named = {item.attributes.get("name", ""): item for item in definitions.all("itemDefinition")}

    def of_reference(self, reference: str) -> Type:
        """Resolve a `typeRef`; an alias inherits the constraint of what it names.

        Raises:
            FeelError: the type, or a constraint of it, is not supported.
        """
        return self._resolved(reference.strip(), _MOST_ALIASES)

    def at_path(self, reference: str, path: Sequence[str]) -> Type:
        """Resolve the type of a component of a structure, given by the names that lead to it.

        Raises:
            FeelError: the component does not exist, or its type is not supported.
        """
        found = self.of_reference(reference)
        for name in path:
            if found.components is None or name not in found.components:
                raise FeelError(f"the type {reference or '(none)'} has no component {name}", "add it there")
            found = self._of_item(found.components[name], _MOST_ALIASES)
        return found

    def _resolved(self, reference: str, left: int) -> Type:
        name = reference.rpartition(":")[2]
        item = self._named.get(reference) or self._named.get(name)
        if item is not None and left:
            found = self._of_item(item, left - 1)
            # An item definition may give the name that other products use for whole numbers.
            whole = BASE.get(name) == "integer" and found.base == "number"
            return Type("integer", found.constraint) if whole else found
        if name not in BASE:
            raise FeelError(f"the type {name} is not supported", "use string, number or boolean")
        return Type(BASE[name])

    def _of_item(self, item: Element, left: int) -> Type:
        if item.attributes.get("isCollection") in ("true", "1"):
            raise FeelError(f"the type {item.attributes.get('name', '')} is a list", "use a single value")
        components = {part.attributes.get("name", ""): part for part in item.all("itemComponent")}
        if components:
            return Type("any", None, components)
        found = self._resolved(item.text_of("typeRef"), left)
        for name in _CONSTRAINTS:
            values = item.first(name)
            if values is not None:
                return Type(found.base, parse_tests(values.text_of("text")), found.components)
        return found


def domain_of(
    base: str, constraint: Condition | None, seen: Sequence[Condition], outputs: Sequence[Scalar] = ()
) -> Domain:
    """Return the domain of a column or output: its type and constraint, or what its cells suggest.

    A value may be null where the constraint lists null or is `-`; without a constraint, where a cell asks for null.

    Raises:
        FeelError: the type is unknown, or the constraint is neither a list of values nor one range.
    """
    if constraint is None or constraint in (ANY, SET):
        optional = constraint == ANY or (constraint is None and (any(c.unset for c in seen) or None in outputs))
        return _free_domain(base if base != "any" else _guessed(seen, outputs), optional)
    if constraint.negated or len(constraint.intervals) > 1 or (constraint.intervals and constraint.values):
        raise FeelError("allowed values must be a list of values, or one range", "write them so")
    if not (constraint.values or constraint.intervals or constraint.unset):
        raise FeelError("the allowed values exclude every value", "correct the range")
    if not constraint.intervals:
        return Domain.finite(constraint.values, optional=constraint.unset)
    if base not in ("number", "integer", "any"):
        raise FeelError("a range of allowed values needs the type number", "change the type")
    return Domain.within(constraint.intervals[0], integer=base == "integer", optional=constraint.unset)


def _free_domain(base: str, optional: bool) -> Domain:
    if base == "text":
        return Domain.text(optional=optional)
    if base == "boolean":
        return Domain.boolean(optional=optional)
    return Domain.number(integer=base == "integer", optional=optional)


def _guessed(seen: Sequence[Condition], outputs: Sequence[Scalar]) -> str:
    values: list[Scalar] = [value for value in outputs if value is not None]
    values += [value for condition in seen for value in condition.values]
    kinds = {"boolean" if isinstance(v, bool) else "number" if is_number(v) else "text" for v in values}
    kinds |= {"number" for condition in seen if condition.intervals}
    if len(kinds) != 1:
        reason = "its type is unknown" if not kinds else f"its cells have several types: {', '.join(sorted(kinds))}"
        raise FeelError(reason, "give it a typeRef")
    return kinds.pop()
