"""The tools of this project."""

from __future__ import annotations

from compozy.tools import component


def welcome(name: str, address: str) -> dict[str, str]:
    """Send a welcome mail, however this mode sends mail."""
    went = component("mailer").send(address, f"Welcome, {name}", f"Dear {name},\n\ngood to have you here.\n")
    return {"to": address, "via": went}
