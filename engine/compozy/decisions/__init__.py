"""Decision tables over declared inputs, independent of settings: decision files and DMN models."""

from __future__ import annotations

from compozy.base.source_file import YAML_ENDINGS, UnreadableError, read_source
from compozy.decisions.decision_file import parse_decisions
from compozy.decisions.declared import Decisions, compare_decisions, verify_decisions
from compozy.decisions.dmn_import import parse_dmn
from compozy.errors import UsageError

__all__ = [
    "DECISION_ENDINGS",
    "DMN_ENDINGS",
    "Decisions",
    "compare_decisions",
    "parse_text",
    "read_decisions",
    "verify_decisions",
]

DMN_ENDINGS = (".dmn", ".xml")
DECISION_ENDINGS = (*YAML_ENDINGS, *DMN_ENDINGS)


def read_decisions(path: str) -> Decisions:
    """Read a decision file, or a DMN model by the ending of its name; faults are reports of the result.

    Raises:
        UsageError: the file cannot be read as text.
    """
    try:
        text = read_source(path, own=False)
    except UnreadableError as error:
        raise UsageError(f"{path} cannot be read: {error}", hint="name a decision file or a DMN model") from error
    return parse_text(text, path)


def parse_text(text: str, path: str) -> Decisions:
    """Return the decisions of a text; the ending of `path` decides whether it is a DMN model."""
    return parse_dmn(text, path) if path.casefold().endswith(DMN_ENDINGS) else parse_decisions(text, path)
