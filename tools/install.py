"""Install pinned requirements into this environment: with uv, which needs a fifth of the time, else with pip.

uv gets the indexes, certificates and proxies that pip is configured with, because it reads none of pip's configuration.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
PINNED = ("--quiet", "--no-deps", "--require-hashes", "--requirement")
# Options of pip that decide where files come from, and the variable of uv that means the same.
VARIABLES = {
    "index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX", "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST", "cert": "SSL_CERT_FILE", "client-cert": "SSL_CLIENT_CERT",
    "proxy": "ALL_PROXY", "default-timeout": "UV_HTTP_TIMEOUT", "timeout": "UV_HTTP_TIMEOUT",
}  # fmt: skip
# Those of a later section win in pip.
SECTIONS = ("global", "install", ":env:")


def uv_environment(listed: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of uv for the output of `pip config list`; variables that are set already win."""
    sections: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        section, _, option = name.rpartition(".")
        if section in sections and option in VARIABLES:
            sections[section][VARIABLES[option]] = " ".join(str(ast.literal_eval(value)).split())
    found = {name: value for section in SECTIONS for name, value in sections[section].items()}
    if "UV_FIND_LINKS" in found:
        found["UV_FIND_LINKS"] = found["UV_FIND_LINKS"].replace(" ", ",")
    # As pip does: a version may come from any index. Each file has to match its hash.
    return {"UV_INDEX_STRATEGY": "unsafe-best-match", **found, **environment}


def with_uv(requirements: str) -> bool:
    """Install with uv, which is installed first; return False where it is not available or fails."""
    listed = subprocess.run([*PIP, "config", "list"], capture_output=True, text=True, check=False).stdout
    # uv has no variable for it, and would ask an index that pip must not ask.
    if ".no-index=" in listed:
        return False
    uv = Path(sys.executable).with_name("uv")
    first = [*PIP, "install", "--only-binary", ":all:", *PINNED, str(ROOT / "constraints-installer.txt")]
    if subprocess.run(first, check=False).returncode != 0:
        return False
    install = [str(uv), "pip", "install", "--python", sys.executable, "--compile-bytecode", *PINNED, requirements]
    return subprocess.run(install, env=uv_environment(listed, os.environ), check=False).returncode == 0


def main(requirements: str) -> int:
    """Install the pinned requirements of a file; return the exit code."""
    if with_uv(requirements):
        return 0
    sys.stderr.write(f"uv could not install {requirements}; pip installs it, which takes longer\n")
    return subprocess.run([*PIP, "install", *PINNED, requirements], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
