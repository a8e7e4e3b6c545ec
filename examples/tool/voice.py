"""Tools of the example: plain functions, synchronous or not; arguments and results are JSON."""

from __future__ import annotations

import asyncio
from typing import Any


def shout(text: str, times: int = 1) -> dict[str, Any]:
    """Return the text in capitals, `times` times."""
    loud = " ".join([text.upper() + "!"] * times)
    return {"text": loud, "letters": sum(letter.isalpha() for letter in loud)}


async def echo(text: str) -> str:
    """Return the text more quietly, after a moment."""
    await asyncio.sleep(0.01)
    return text.lower()
