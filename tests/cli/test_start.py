"""The behaviour of `compozy start` after its ready line."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest

from compozy.base.findings import Finding
from compozy.base.place import Place
from compozy.cli.start import report_unusable
from compozy.errors import DefinitionError
from compozy.server.stack import Stack
from compozy.store import UnavailableError


def stack_that(answer: Any) -> Stack:
    """Return the part of a stack that lists workflows."""

    def workflows() -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return cast(Stack, SimpleNamespace(workflows=SimpleNamespace(workflows=workflows)))


def test_silent_database_after_the_ready_line_does_not_end_the_server(
    caplog: pytest.LogCaptureFixture,
) -> None:
    report_unusable(stack_that(UnavailableError("database", "no answer within 10 s")))

    assert [record.message for record in caplog.records] == ["workflows.not_listed"]


def test_unusable_workflow_files_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "compozy.note")
    finding = Finding.at("workflow.definition", "no tasks", Place("broken.yaml", 1, 1))
    problem = DefinitionError("broken.yaml", [finding])

    report_unusable(stack_that(SimpleNamespace(problems=[problem])))

    assert [record.message for record in caplog.records] == [problem.message]
