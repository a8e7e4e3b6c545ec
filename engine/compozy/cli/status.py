"""`compozy status`: state and health of the running server, and how commands reach it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from compozy.cli.options import configuration_options, format_option, read_configuration
from compozy.cli.output import print_json, print_line, print_table, styled
from compozy.cli.prepare import looking, project_client
from compozy.state.presence import Presence, find_server

if TYPE_CHECKING:
    from compozy.client.answers import ComponentHealth, HealthAnswer


def with_mode_of_server(options: dict[str, object]) -> tuple[dict[str, object], Presence | None]:
    """Return the options with the mode of the project's server, and the server; a flag or a variable wins."""
    resolved = looking(read_configuration(options)).resolve()
    presence = find_server(resolved.directory)
    if presence is None or resolved.values["mode"].origin.kind in ("flag", "env"):
        return options, presence
    return {**options, "setting_mode": presence.mode}, presence


@click.command(name="status", epilog="Example: compozy status --format json")
@configuration_options
@format_option()
@click.option("--link", is_flag=True, help="Print a link that opens the server's pages in a browser, once.")
def command(format_: str, link: bool, strict: bool, **options: object) -> int:
    """Show state, mode, health and latency of each component; exit code 4 when it is not ready."""
    with project_client(options, strict) as client:
        if link:
            url = client.new_link()
            print_json({"url": url}) if format_ == "json" else print_line(url)
            return 0
        health = client.health()
    if format_ == "json":
        print_json(health.to_json())
    else:
        print_status(health)
    return 0 if health.ready else 4


def print_status(health: HealthAnswer) -> None:
    """Print the server's answer for people."""
    word = styled("ready", "ok") if health.ready else styled("not ready", "error")
    print_line(f"{word}, {health.state}, mode {health.mode}, process {health.pid}, {health.url}\n")
    rows = [_row(name, part) for name, part in health.components.items()]
    print_table(rows, ("COMPONENT", "MODE", "DRIVER", "HEALTH", "LATENCY", "ADDRESS", "DATA"))
    searches = [(name, search) for name, part in health.components.items() if (search := _search(part))]
    if searches:
        print_line("\n" + "\n".join(f"{name} searches {search}" for name, search in searches))
    if not health.worker.healthy:
        print_line(f"\n{styled('the worker takes no work', 'error')}: {health.worker.error}")


def _row(name: str, part: ComponentHealth) -> tuple[str, ...]:
    latency = "-" if part.latency_ms is None else f"{part.latency_ms:.1f} ms"
    health = "ok" if part.healthy else f"down: {part.error or 'no answer'}"
    return (name, part.mode, part.driver, health, latency, *whereabouts(part))


def _search(part: ComponentHealth) -> object:
    """Return how a vector store searches, where that depends on its server."""
    return part.details.get("search") if part.details else None


def whereabouts(part: ComponentHealth) -> tuple[str, str]:
    """Return where a component is reached and where its data lies, for people."""
    place = {True: "kept by its server", False: "nothing is kept", None: "-"}[part.kept]
    return (part.address if part.address and part.address != part.data else "in this process", part.data or place)
