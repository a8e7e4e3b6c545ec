"""The configuration of a command: read as often as the command needs it, from sources that have one reader."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path

import click
import pytest

from compozy.cli.options import read_configuration


def test_pipes_and_standard_input_are_read_once_for_each_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that looks for a server first reads its configuration again afterwards."""
    os.mkfifo(tmp_path / ".env", 0o600)
    os.mkfifo(tmp_path / "version", 0o600)
    contents = {".env": "NAME=shop\n", "version": "1.2.3\n"}
    writers = [threading.Thread(target=(tmp_path / name).write_text, args=(text,)) for name, text in contents.items()]
    for writer in writers:
        writer.start()
    (tmp_path / "compozy.yaml").write_text("name: ${NAME}\n", encoding="utf-8")
    monkeypatch.setattr("sys.stdin", io.StringIO("from stdin\n"))
    given = {"cwd": str(tmp_path), "set_": ["description=@-", f"version=@{tmp_path / 'version'}"]}

    with click.Context(click.Command("any")).scope():
        read = [read_configuration(given).candidates for _ in range(2)]

    assert [[one[path][0].value for path in ("name", "description", "version")] for one in read] == [
        ["shop", "from stdin", "1.2.3"]
    ] * 2
