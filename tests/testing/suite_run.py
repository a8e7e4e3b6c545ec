"""Run test files as a user's project would, with the plugin of this tree and no other."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PLUGIN = "compozy.testing.plugin"
SETTINGS = ("COMPOZY_TEST_MODE", "DB_URL")


@dataclass(frozen=True)
class Run:
    """The result of each test: `passed`, or the text of its failure or error; and the exit code of the run."""

    outcomes: Mapping[str, str]
    output: str
    code: int


def run_tests(directory: Path, files: Mapping[str, str], environment: Mapping[str, str] | None = None) -> Run:
    """Run `files` (name -> text) in `directory`."""
    for name, text in files.items():
        (directory / name).write_text(text, encoding="utf-8")
    report = directory / "report.xml"
    kept = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    command = [sys.executable, "-m", "pytest", "-p", PLUGIN, "-W", "error", "--strict-markers"]
    result = subprocess.run(
        [*command, "-p", "no:cacheprovider", f"--rootdir={directory}", f"--junit-xml={report}", *files],
        cwd=directory,
        env={**kept, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    output = result.stdout + result.stderr
    assert report.exists(), output
    cases = ElementTree.parse(report).getroot().iter("testcase")
    return Run({case.attrib["name"]: _outcome(case) for case in cases}, output, result.returncode)


def _outcome(case: ElementTree.Element) -> str:
    problems = [child for child in case if child.tag in ("failure", "error", "skipped")]
    return "\n".join(f"{child.attrib.get('message')}\n{child.text}" for child in problems) or "passed"
