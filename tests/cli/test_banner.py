"""The banner of `compozy start` names the access to the server."""

from __future__ import annotations

from pathlib import Path

import pytest

import compozy
from compozy.cli.start import listening, print_access
from compozy.server.stack import Stack


def test_server_open_to_others_prints_a_warning_and_no_link(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The banner may end in a log that others read."""
    settings = {"server.host": "0.0.0.0", "server.api_key": "a-key-of-sixteen-characters"}
    lifecycle = compozy.load(directory=str(tmp_path), settings=settings, environment={})
    lifecycle.resolve()
    lifecycle.validate()

    print_access(Stack(lifecycle, notice=lambda text: None))

    printed = capsys.readouterr().out
    assert "other machines as well, with server.api_key" in printed
    assert "compozy status --link" in printed
    assert "token" not in printed
    assert "a-key-of-sixteen" not in printed


@pytest.mark.parametrize(
    ("host", "bound"),
    [
        pytest.param("0.0.0.0", "all addresses of this machine (0.0.0.0), for example http://127.0.0.1:81", id="ipv4"),
        pytest.param("::", "all addresses of this machine ([::]), for example http://[::1]:81", id="ipv6"),
        pytest.param("10.0.0.7", "http://10.0.0.7:81", id="one"),
        pytest.param("127.0.0.1", "http://127.0.0.1:81", id="loopback"),
    ],
)
def test_banner_names_bound_and_usable_address(host: str, bound: str, tmp_path: Path) -> None:
    settings = {"server.host": host, "server.api_key": "a-key-of-sixteen-characters"}
    lifecycle = compozy.load(directory=str(tmp_path), settings=settings, environment={})
    lifecycle.resolve()
    stack = Stack(lifecycle, notice=lambda text: None)
    stack.url = bound.rpartition(" ")[2]
    assert listening(stack) == bound
