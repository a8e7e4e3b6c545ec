"""`compozy status`: state and health of the running server, and how commands reach it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from compozy.cli.client import Client
from compozy.cli.options import configuration_options, format_option, read_configuration
from compozy.cli.output import print_json, print_line, print_table, styled
from compozy.cli.prepare import looking
from compozy.errors import CompozyError, UsageError
from compozy.provisioning.lifecycle import Lifecycle
from compozy.resolution.resolve import Resolved
from compozy.state.presence import Presence, find_server


class NotRunningError(CompozyError):
    """No server of the project in a directory runs."""

    id = "server.not-running"
    exit_code = 4

    def __init__(self, directory: object) -> None:
        super().__init__(f"no server of the project in {directory} is running", hint="start one with compozy start")


def running_client(options: dict[str, Any], strict: bool = False) -> tuple[Client | None, Lifecycle]:
    """Return a client of the project's server, None when no server runs, and the validated configuration.

    Raises:
        ConfigurationError: a finding stops.
        UsageError: the server that runs is not the one that was asked for.
    """
    lifecycle = looking(read_configuration(options), strict=strict)
    resolved = lifecycle.resolve()
    lifecycle.validate()
    url = resolved.get("server.url")
    if url:
        return Client(url, resolved.get("server.api_key")), lifecycle
    named = resolved.values["server.port"]
    presence = find_server(resolved.directory, int(named.value) if named.origin.kind == "flag" else None)
    if presence is None:
        return None, lifecycle
    _check_mode(resolved, presence)
    return Client(presence.url, presence.api_key or resolved.get("server.api_key"), presence.pid), lifecycle


def required_client(options: dict[str, Any], strict: bool) -> Client:
    """Return a client of the running server.

    Raises:
        NotRunningError: no server runs.
    """
    client, lifecycle = running_client(options, strict)
    if client is None:
        raise NotRunningError(lifecycle.resolved.directory)
    return client


def _check_mode(resolved: Resolved, presence: Presence) -> None:
    """Refuse to talk to a server of another mode than the one that was asked for."""
    asked_for = resolved.values["mode"].origin.kind not in ("rule", "default")
    if asked_for and resolved.mode != presence.mode:
        raise UsageError(
            f"the server of this project (process {presence.pid}) runs in mode {presence.mode}, not {resolved.mode}",
            hint=f"leave the mode away to use it, or stop it and run compozy start --mode {resolved.mode}",
        )


def with_mode_of_server(options: dict[str, Any]) -> tuple[dict[str, Any], Presence | None]:
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
def command(format_: str, link: bool, strict: bool, **options: Any) -> int:
    """Show state, mode, health and latency of each component; exit code 4 when it is not ready."""
    client = required_client(options, strict)
    if link:
        opened = client.post("/session")
        print_json(opened) if format_ == "json" else print_line(opened["url"])
        return 0
    health = client.get("/api/v0/health")
    if format_ == "json":
        print_json(health)
    else:
        print_status(health)
    return 0 if health["ready"] else 4


def print_status(health: dict[str, Any]) -> None:
    """Print the server's answer for people."""
    word = styled("ready", "ok") if health["ready"] else styled("not ready", "error")
    print_line(f"{word}, {health['state']}, mode {health['mode']}, process {health['pid']}, {health['url']}\n")
    rows = [_row(name, part) for name, part in health["components"].items()]
    print_table(rows, ("COMPONENT", "MODE", "DRIVER", "HEALTH", "LATENCY", "ADDRESS", "DATA"))
    if not health["worker"]["healthy"]:
        print_line(f"\n{styled('the worker takes no work', 'error')}: {health['worker']['error']}")


def _row(name: str, part: dict[str, Any]) -> tuple[str, ...]:
    latency = "-" if part["latency_ms"] is None else f"{part['latency_ms']:.1f} ms"
    health = "ok" if part["healthy"] else f"down: {part.get('error') or 'no answer'}"
    return (name, part["mode"], part["driver"], health, latency, *whereabouts(part))


def whereabouts(part: Mapping[str, Any]) -> tuple[str, str]:
    """Return where a component is reached and where its data lies, for people."""
    address, data, kept = part["address"], part["data"], part["kept"]
    place = {True: "kept by its server", False: "nothing is kept", None: "-"}[kept]
    return (address if address and address != data else "in this process", data or place)
