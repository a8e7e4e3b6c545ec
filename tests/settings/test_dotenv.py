"""`.env`: bounded work for any content, and one reading of each file."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from tests.support.project import configured, findings

from compozy.settings.dotenv import LIMIT_CHARACTERS, dotenv_lines
from compozy.settings.sources import FileSource


def test_reading_stops_after_many_malformed_lines() -> None:
    """An unclosed quote makes the parser look through the rest of the file for each line."""
    lines = dotenv_lines('A="x\n' + "B C D\n" * 30_000)
    assert len(lines) == 100


def test_file_beyond_the_limit_is_a_finding(tmp_path: Path) -> None:
    found = findings(tmp_path, dotenv="A=1\n" * (LIMIT_CHARACTERS // 4 + 1))
    assert [(item.id, item.message) for item in found] == [
        ("file.unreadable", ".env cannot be read: it is longer than 250000 characters")
    ]


def test_findings_of_one_kind_are_limited(tmp_path: Path) -> None:
    found = findings(tmp_path, "".join(f"key{number}: 1\n" for number in range(250)))
    assert len(found) == 100
    assert found[-1].message == 'unknown key "key99"\n(150 more of this kind are not listed)'


def test_pipe_serves_settings_and_variables(tmp_path: Path) -> None:
    """A second reader of the pipe would wait for ever."""
    os.mkfifo(tmp_path / ".env", 0o600)
    writer = threading.Thread(target=lambda: (tmp_path / ".env").write_text("NAME=shop\nDB_DRIVER=sqlite\n"))
    writer.start()
    configuration = configured(tmp_path, "name: ${NAME}\nrules: []\n")
    writer.join()
    assert configuration.candidates["name"][0].value == "shop"
    assert configuration.candidates["database.driver"][0].value == "sqlite"
    assert FileSource().read(configuration.inputs, configuration.rulebook.registry).entries["name"].value == "shop"
