"""The names and JSON forms that are stored in Temporal, stable across versions.

Histories outlive the program that wrote them: fields are added here, never renamed. A further task type, or
a further field of a task, raises `FORMAT`, because an older worker cannot run it and refuses a newer format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from compozy.base.record import dataclass
from compozy.errors import CompozyError
from compozy.workflows.expressions.bounds import LIMITS, TemplateLimits
from compozy.workflows.model.definition import Definition
from compozy.workflows.read.loader import decode_definition

WORKFLOW_TYPE = "compozy.workflow"
SIGNAL = "compozy.signal"
STATE_QUERY = "compozy.state"
ROWS = "compozy.rows"
RENDER = "compozy.render"
INGESTION_TYPE = "compozy.ingestion"
INGESTION_BEGIN = "compozy.ingestion_begin"
INGESTION_STEP = "compozy.ingestion_step"
INGESTION_FINISH = "compozy.ingestion_finish"
FAILED = "compozy.failed"
TEMPLATE_FAILED = "compozy.template"
FORMAT = 2


@dataclass(frozen=True, slots=True)
class Run:
    """The argument of one execution: what to do, with which input; `started_at` is None when a schedule starts it.

    `limits` and `jinja2`, the version of the parser, decide what templates give, and stay those of the start.
    """

    definition: Definition
    input: Mapping[str, Any]
    started_at: str | None = None
    limits: TemplateLimits = LIMITS
    jinja2: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the payload that Temporal keeps."""
        return {
            "format": FORMAT,
            "definition": self.definition.to_json(),
            "input": self.input,
            "started_at": self.started_at,
            "templates": {"jinja2": self.jinja2 or jinja2_version(), **asdict(self.limits)},
        }


class NewerFormatError(CompozyError):
    """An execution that a newer version of Compozy started, in a format that this one does not know."""

    id = "execution.newer-format"
    exit_code = 5

    def __init__(self, number: int) -> None:
        super().__init__(
            f"its start payload has format {number}; this version reads formats up to {FORMAT}",
            hint="upgrade this worker",
        )


@lru_cache(maxsize=1)
def jinja2_version() -> str:
    """Return the version of the parser of templates."""
    return version("jinja2")


def decode_run(payload: Mapping[str, Any]) -> Run:
    """Read the payload of an execution that this or an earlier version started.

    Raises:
        NewerFormatError: a newer version started it.
        LookupError, TypeError, ValueError, AttributeError: it is not the payload of an execution.
    """
    if payload["format"] > FORMAT:
        raise NewerFormatError(payload["format"])
    definition = decode_definition(payload["definition"])
    templates = payload.get("templates") or {}
    limits = TemplateLimits(**{item.name: int(templates.get(item.name, item.default)) for item in fields(LIMITS)})
    return Run(definition, payload["input"], payload.get("started_at"), limits, templates.get("jinja2", ""))
