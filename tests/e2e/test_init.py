"""`compozy init`: a new project loads, validates, runs and passes its own test as it was written, in every mode."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

import pytest

from .conftest import Shell, environment

pytestmark = pytest.mark.e2e

MODES = ["memory", "persistent", "distributed"]
# Plugins of our own environment, which a new project does not have.
PLUGINS = [
    f"-pno:{name}" for name in ("anyio", "hypothesispytest", "pytest_cov", "randomly", "xdist", "xdist.looponfail")
]


@pytest.mark.parametrize("mode", MODES)
def test_new_project_runs_and_passes_its_own_test(shell: Shell, mode: str, request: pytest.FixtureRequest) -> None:
    made = shell.json("init", ".", "--mode", mode, "--name", "a: greeter")
    assert (made["mode"], made["name"], "compose.yaml" in made["files"]) == (mode, "a: greeter", mode == "distributed")
    assert shell.run("config", "validate", "--strict").stdout == "valid\n"
    assert shell.json("config", "show")["settings"]["name"]["value"] == "a: greeter"
    reached: Mapping[str, str] = {}
    if mode == "distributed":
        reached = request.getfixturevalue("services").settings()
    own_test = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *PLUGINS], cwd=shell.directory,
        env=environment(shell.runtime), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    run = shell.json("workflow", "run", "greet", "--param", "name=Ada", env=reached)
    assert (run["status"], run["output"]) == ("completed", {"greeting": "Hello, Ada!"})
    output, _ = own_test.communicate(timeout=90)
    assert (own_test.returncode, "1 passed" in output) == (0, True), output
