"""The error of a tool, as it crosses from the tool's thread or process to the worker.

It holds texts only: a foreign exception may hold objects that no history can carry.
"""

from __future__ import annotations

from compozy.workflows.model.plain import clean_reason


class ToolFailure(Exception):
    """A tool that could not be called or raised; `kind` is the name of the error, `final` forbids a retry."""

    def __init__(self, kind: str, reason: str, *, final: bool = False) -> None:
        self.kind = kind
        self.reason = clean_reason(reason)
        super().__init__(self.reason)
        self.final = final
