"""Parse XML into elements with their places; document type declarations, and with them all entities, are refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from xml.parsers import expat

from compozy.base.place import Place
from compozy.base.record import dataclass
from compozy.errors import SyntaxProblem

# Readers of elements call themselves once for each level.
_DEEPEST = 100


@dataclass(slots=True)
class Element:
    """An XML element: namespace, local name, attributes by local name, text without that of its children."""

    namespace: str
    name: str
    attributes: Mapping[str, str]
    place: Place
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def all(self, name: str) -> Iterator[Element]:
        """Yield the children of a name in the namespace of this element."""
        return (child for child in self.children if (child.namespace, child.name) == (self.namespace, name))

    def first(self, name: str) -> Element | None:
        """Return the first child of a name, or None."""
        return next(self.all(name), None)

    def text_of(self, name: str) -> str:
        """Return the text of the first child of a name, without surrounding blanks; empty without one."""
        child = self.first(name)
        return child.text.strip() if child else ""


def parse_xml(text: str, file: str) -> Element:
    """Parse a document and return its root.

    Raises:
        SyntaxProblem: the text is not well-formed, nested too deep, or declares a document type.
    """
    builder = _Builder(file)
    try:
        builder.parser.Parse(text, True)
    except expat.ExpatError as error:
        place = Place(file, error.lineno, error.offset + 1)
        raise SyntaxProblem(f"not well-formed XML: {expat.ErrorString(error.code)}", place) from error
    return builder.root.children[0]


class _Builder:
    def __init__(self, file: str) -> None:
        self.root = Element("", "", {}, Place(file, 1, 1))
        self._open = [self.root]
        self.parser = expat.ParserCreate(namespace_separator=" ")
        # One call for each text; expat would otherwise call the handler for each line and entity.
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.StartDoctypeDeclHandler = self._refuse_doctype

    def _place(self) -> Place:
        return Place(self.root.place.file, self.parser.CurrentLineNumber, self.parser.CurrentColumnNumber + 1)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._open) > _DEEPEST:
            raise SyntaxProblem(f"elements are nested more than {_DEEPEST} deep", self._place())
        namespace, _, local = name.rpartition(" ")
        # Attributes in a namespace are extensions of other products.
        plain = {key.rpartition(" ")[2]: value for key, value in attributes.items() if " " not in key}
        element = Element(namespace, local, plain, self._place())
        self._open[-1].children.append(element)
        self._open.append(element)

    def _end(self, _name: str) -> None:
        self._open.pop()

    def _text(self, data: str) -> None:
        self._open[-1].text += data

    def _refuse_doctype(self, *_declared: object) -> None:
        reason = "a document type declaration (DOCTYPE) is refused, because it can define entities"
        raise SyntaxProblem(reason, self._place(), hint="remove the declaration")
