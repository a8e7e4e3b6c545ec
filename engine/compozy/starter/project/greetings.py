"""Tools of this project: functions whose arguments and results are JSON."""

from typing import Any


def greet(name: str) -> dict[str, Any]:
    """Return a greeting."""
    return {"text": f"Hello, {name}!"}
