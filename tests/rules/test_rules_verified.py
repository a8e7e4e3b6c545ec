"""The same content is verified once: in a process, and on a machine."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from compozy import rulebook
from compozy.errors import RuleTableError
from compozy.rulebook import load_rulebook, verified
from compozy.rulebook.files import shipped_texts

PACK = "settings:\n  - {path: shop.name, type: text, help: x}\n"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test an empty cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "compozy" / "rules"


def pack(folder: Path, text: str = PACK) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "rules.yaml").write_text(text)
    return str(folder)


def test_valid_rules_are_kept(cache: Path, tmp_path: Path) -> None:
    """One file for each set of rules; what is read back explains and decides the same."""
    found = load_rulebook((pack(tmp_path / "pack"),))
    kept = verified.verified_rules(found.digest)
    assert kept is not None
    assert kept is not found
    assert kept.registry == found.registry
    assert list(kept.ruleset.tables.values()) == list(found.ruleset.tables.values())
    assert len(list(cache.iterdir())) == 1


def test_other_content_is_not_verified(tmp_path: Path) -> None:
    """Every byte counts."""
    found = load_rulebook((pack(tmp_path / "pack"),))
    assert verified.verified_rules(found.digest + "x") is None


def test_cache_writable_by_other_users_is_ignored(cache: Path, tmp_path: Path) -> None:
    """A file of the cache holds Python objects."""
    found = load_rulebook((pack(tmp_path / "pack"),))
    (file,) = cache.iterdir()
    file.chmod(0o666)
    assert verified.verified_rules(found.digest) is None
    file.chmod(0o600)
    cache.chmod(0o777)
    assert verified.verified_rules(found.digest) is None
    cache.chmod(0o700)
    assert verified.verified_rules(found.digest) is not None


def test_changed_pack_is_read_again(tmp_path: Path) -> None:
    """The cache goes by content and not by name."""
    folder = pack(tmp_path / "pack")
    before = load_rulebook((folder,))
    pack(tmp_path / "pack", PACK.replace("shop.name", "shop.title"))
    after = load_rulebook((folder,))
    assert "shop.title" in after.registry.settings
    assert "shop.title" not in before.registry.settings


def test_the_same_content_is_the_same_rulebook(tmp_path: Path) -> None:
    """Read and verified once a process."""
    folder = pack(tmp_path / "pack")
    assert load_rulebook((folder,)) is load_rulebook((folder,))


def test_remembered_rules_are_not_verified_again(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second process would not verify: here the verification itself is out of reach."""
    folder = pack(tmp_path / "pack")
    digest = load_rulebook((folder,)).digest
    rulebook._loaded.cache_clear()
    monkeypatch.delattr(rulebook, "check_rules")
    assert load_rulebook((folder,)).digest == digest


def test_invalid_rules_are_not_remembered(tmp_path: Path, cache: Path) -> None:
    """They are refused each time, with every fault."""
    folder = pack(tmp_path / "pack", "settings: 7\n")
    for _ in range(2):
        with pytest.raises(RuleTableError, match="must be a list"):
            load_rulebook((folder,))
    assert not cache.exists()


def test_unwritable_cache_does_not_fail_the_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "blocked").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "blocked"))
    assert load_rulebook((pack(tmp_path / "pack"),)).digest


def test_damaged_cache_does_not_fail_the_load(tmp_path: Path, cache: Path) -> None:
    """A damaged file is replaced."""
    folder = pack(tmp_path / "pack")
    digest = load_rulebook((folder,)).digest
    (file,) = cache.iterdir()
    for damage in (b"", b"\xff\xfe", file.read_bytes()[:-100], pickle.dumps(7)):
        file.write_bytes(damage)
        rulebook._loaded.cache_clear()
        assert load_rulebook((folder,)).digest == digest
        assert verified.verified_rules(digest) is not None


def test_the_oldest_rules_are_dropped(cache: Path, tmp_path: Path) -> None:
    """The cache stays small."""
    digests = [
        load_rulebook((pack(tmp_path / "pack", PACK.replace("help: x", f"help: x{number}")),)).digest
        for number in range(10)
    ]
    assert len(list(cache.iterdir())) == 8
    assert verified.verified_rules(digests[-1]) is not None
    assert verified.verified_rules(digests[0]) is None


@pytest.mark.parametrize("given", ["", "relative/cache"])
def test_the_cache_is_never_in_the_project(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative XDG_CACHE_HOME is ignored, as its standard asks."""
    monkeypatch.setenv("XDG_CACHE_HOME", given)
    monkeypatch.setenv("HOME", "/home/user")
    file = verified.cache_file("digest")
    assert file is not None
    assert file.parent == Path("/home/user/.cache/compozy/rules")


def test_rules_are_not_cached_without_a_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is written."""
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    found = load_rulebook((pack(tmp_path / "pack"),))
    assert verified.cache_file(found.digest) is None
    assert verified.verified_rules(found.digest) is None


def test_the_working_directory_stays_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verifying leaves no trace where the user works."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    rulebook._loaded.cache_clear()
    load_rulebook()
    assert os.listdir() == []


def test_shipped_files_are_named_as_in_the_repository() -> None:
    """Names of files in reports lead somewhere."""
    root = Path(__file__).parent.parent.parent
    assert all((root / name).is_file() for name in shipped_texts())
