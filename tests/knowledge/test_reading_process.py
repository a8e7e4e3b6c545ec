"""PDF and hostile documents, read in a process of its own."""

from __future__ import annotations

import pytest
from tests.support.pdf_files import make_growing_pdf, make_pdf, make_slow_pdf

from compozy.knowledge import reading_process
from compozy.knowledge.bases import ReadLimits
from compozy.knowledge.documents import UnreadableDocument
from compozy.knowledge.reading_process import read_in_process


def refusal(kind: str, content: bytes, **limits: float) -> UnreadableDocument:
    with pytest.raises(UnreadableDocument) as caught:
        read_in_process(kind, content, ReadLimits(**limits))  # type: ignore[arg-type]
    return caught.value


def test_pages_are_the_places_of_a_pdf() -> None:
    found = read_in_process("pdf", make_pdf(["The ferry leaves", "", "at nine"], "Ferry"), ReadLimits())
    assert (found.text, found.title) == ("The ferry leaves\n\n\n\nat nine", "Ferry")
    assert [found.places.at(found.text.index(word)) for word in ("ferry", "nine")] == ["page 1", "page 3"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(make_pdf(["a"], encrypted=True), "the PDF is encrypted", id="encrypted"),
        pytest.param(make_pdf(["a"])[:200], "the PDF is damaged", id="truncated"),
        pytest.param(b"", "the PDF is damaged", id="empty"),
        pytest.param(b"%PDF-1.4\n" + bytes(range(256)), "the PDF is damaged", id="garbage"),
        pytest.param(make_pdf(["", ""]), "the PDF has no text", id="no-text"),
    ],
)
def test_unreadable_pdf_is_refused(content: bytes, reason: str) -> None:
    assert refusal("pdf", content).reason == reason


def test_text_of_a_document_is_limited() -> None:
    """A small document may unpack to a large one, which the reading process alone has room for."""
    page = f"<p>{'word ' * 1000}</p>".encode()
    assert len(read_in_process("html", page, ReadLimits()).text) == 4999
    assert refusal("html", page, size_bytes=4000).reason == "its text is larger than 4000 bytes"


def test_memory_of_a_reader_is_limited() -> None:
    """The page of this PDF is 300 MB."""
    found = refusal("pdf", make_growing_pdf(300_000_000), memory_bytes=200_000_000)
    assert "memory" in found.reason
    assert "knowledge.read.memory" in found.fix


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        pytest.param("pdf", make_slow_pdf(30), id="pdf-of-10**30-forms"),
        pytest.param("html", b"<div>" * 400_000, id="deep-page"),
    ],
)
def test_time_of_a_reader_is_limited(kind: str, content: bytes) -> None:
    found = refusal(kind, content, timeout_s=1.5)
    assert found.reason == "its reader took longer than 1.5 s"
    assert "knowledge.read.timeout" in found.fix


def test_reader_sees_no_secret_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPOZY_SERVER__API_KEY", "secret")
    monkeypatch.setattr(reading_process, "_MODULE", "tests.support.environment_reader")
    monkeypatch.setenv("PYTHONPATH", ".")
    names = read_in_process("pdf", b"", ReadLimits()).text.split()
    assert "PATH" in names
    assert not [name for name in names if name.startswith("COMPOZY")]
