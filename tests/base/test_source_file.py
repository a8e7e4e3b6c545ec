"""Reading and listing of source files: what is read, once, and what is left out."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from compozy.base.source_file import LIMIT_BYTES, SourceFiles, UnreadableError, list_sources, read_source


def test_pipe_is_read_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    writer = threading.Thread(target=lambda: pipe.write_text("A=1\n", encoding="utf-8"))
    writer.start()
    files = SourceFiles()
    assert [files.text(str(pipe)), files.text(str(pipe))] == ["A=1\n", "A=1\n"]
    writer.join()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        pytest.param(b"\xef\xbb\xbfa: 1\n", "a: 1\n", id="byte-order-mark"),
        pytest.param(b"a: 1\r\nb: 2\r\n", "a: 1\nb: 2\n", id="line-ends-of-windows"),
    ],
)
def test_text_is_normalised(content: bytes, text: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    assert read_source(str(tmp_path / "file")) == text


def test_unreadable_file_has_a_reason(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"a: \xff\n")
    (tmp_path / "large").write_bytes(b"x" * (LIMIT_BYTES + 1))
    (tmp_path / "link").symlink_to("nowhere")
    reasons = {
        "latin": "it is not UTF-8 text (byte 3)",
        "large": f"it is larger than {LIMIT_BYTES} bytes",
        "link": "No such file or directory",
        ".": "Is a directory",
        "/dev/null": "it is not a regular file",
        "nul\0": "embedded null byte",
    }
    for name, reason in reasons.items():
        with pytest.raises(UnreadableError) as caught:
            read_source(os.path.join(tmp_path, name), own=False)
        assert str(caught.value) == reason


def test_leftovers_of_editors_are_not_listed(tmp_path: Path) -> None:
    names = ["b.yml", "a.yaml", "._a.yaml", ".#a.yaml", "~a.yaml", "a.yaml~", "a.txt", "sub/c.yaml", ".git/d.yaml"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "link.yaml").symlink_to("nowhere")
    shown = ["a.yaml", "b.yml", "link.yaml"]
    assert [Path(path).name for path in list_sources(str(tmp_path))] == shown
    assert [Path(path).name for path in list_sources(str(tmp_path), below=True)] == [*shown, "c.yaml"]
    assert list(list_sources(str(tmp_path / "missing"))) == []
