"""Documents of a base: which files a source names, and what is read from them."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import pytest
from starlette.responses import Response
from tests.support.pdf_files import make_pdf
from tests.support.web_server import HOST, WebServer

from compozy.knowledge.bases import KnowledgeBase, ReadLimits, SourceSetting
from compozy.knowledge.document_sources import find_documents, read_document
from compozy.knowledge.documents import Document, DocumentFault, DocumentKind, Reference
from compozy.knowledge.text_reader import read_text

LIMITS = ReadLimits(fetch_allow=(HOST,))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project beside a directory that is not part of it."""
    project = tmp_path / "project"
    files = ["a.md", "b.txt", "docs/a.md", "docs/deep/er/c.md", "docs/.hidden.md", "docs/.git/x.md", "docs/d.md~"]
    for name in [*files, "docs/#d.md#", "docs/d.md.swp", ".notes/n.md", "../outside/o.md"]:
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")
    return project


def sources(root: Path, *settings: tuple[DocumentKind, str]) -> list[Reference | DocumentFault]:
    return list(find_documents(base(root, *settings)))


def base(root: Path, *settings: tuple[DocumentKind, str], limits: ReadLimits = LIMITS) -> KnowledgeBase:
    return KnowledgeBase("docs", root, tuple(SourceSetting(*setting) for setting in settings), limits=limits)


def read(root: Path, kind: DocumentKind, address: str, limits: ReadLimits = LIMITS) -> Document:
    """Return the document of a base with one."""
    one = base(root, (kind, address), limits=limits)
    (found,) = find_documents(one)
    if isinstance(found, DocumentFault):
        raise found
    return read_document(one, found)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        pytest.param("*.md", ["a.md"], id="one-directory"),
        pytest.param("docs/*.md", ["docs/a.md"], id="below"),
        pytest.param("**/*.md", ["a.md", "docs/a.md", "docs/deep/er/c.md"], id="any-depth"),
        pytest.param("docs/**", ["docs/a.md", "docs/deep/er/c.md"], id="everything-below"),
        pytest.param("*/a.md", ["docs/a.md"], id="star-is-no-slash"),
        pytest.param("docs?a.md", [], id="question-mark-is-no-slash"),
        pytest.param("[ab].*", ["a.md", "b.txt"], id="set"),
        pytest.param("docs/**/er/*.md", ["docs/deep/er/c.md"], id="middle"),
        pytest.param("./docs/a.md", ["docs/a.md"], id="plain"),
        pytest.param(".notes/*.md", [".notes/n.md"], id="hidden-as-written"),
        pytest.param("docs/.hidden.md", ["docs/.hidden.md"], id="hidden-file-as-written"),
    ],
)
def test_pattern_finds_sorted_files_without_hidden_ones(pattern: str, found: list[str], root: Path) -> None:
    assert [one.source for one in sources(root, ("markdown_glob", pattern)) if isinstance(one, Reference)] == found


def test_pattern_without_a_file_is_a_fault(root: Path) -> None:
    (fault,) = sources(root, ("markdown_glob", "texts/*.md"))
    assert isinstance(fault, DocumentFault)
    assert (fault.source, fault.reason) == ("texts/*.md", "no file matches the pattern")


def test_document_of_several_sources_is_found_once(root: Path) -> None:
    found = sources(root, ("markdown_glob", "*.md"), ("text", "b.txt"), ("text", "a.md"), ("markdown_glob", "**/a.md"))
    assert [one.source for one in found] == ["a.md", "b.txt", "docs/a.md"]


@pytest.mark.parametrize("path", ["../outside/o.md", "docs/../../outside/*.md", "/etc/hosts"])
def test_path_out_of_the_project_is_a_fault(path: str, root: Path) -> None:
    (fault,) = sources(root, ("markdown_glob", path))
    assert isinstance(fault, DocumentFault)
    assert fault.reason == "the path leads out of the project"


def test_links_are_followed_within_the_project_alone(root: Path) -> None:
    (root / "in.md").symlink_to("docs/a.md")
    (root / "out.md").symlink_to(root / "../outside/o.md")
    (root / "broken.md").symlink_to("nothing.md")
    (root / "circle").symlink_to(".")
    found = {one.source: getattr(one, "reason", "") for one in sources(root, ("markdown_glob", "**/*.md"))}
    assert found["in.md"] == ""
    assert found["out.md"] == "a symbolic link leads out of the project"
    assert found["broken.md"] == "No such file or directory"
    assert not [name for name in found if name.startswith("circle")]


def test_pattern_below_a_link_out_of_the_project_is_a_fault(root: Path) -> None:
    (root / "linked").symlink_to(root / "../outside")
    found = sources(root, ("markdown_glob", "linked/*.md"))
    assert [getattr(one, "reason", "") for one in found] == ["a symbolic link leads out of the project"]


def test_link_out_of_the_project_is_not_followed_after_the_listing(root: Path) -> None:
    one = base(root, ("text", "b.txt"))
    (found,) = find_documents(one)
    assert isinstance(found, Reference)
    (root / "b.txt").unlink()
    (root / "b.txt").symlink_to(root / "../outside/o.md")
    with pytest.raises(DocumentFault, match="leads out of the project"):
        read_document(one, found)


def test_pipe_and_directory_are_faults(root: Path) -> None:
    os.mkfifo(root / "pipe")
    for name in ("pipe", "docs"):
        with pytest.raises(DocumentFault, match="not a regular file"):
            read(root, "text", name)


def test_file_name_without_utf8_is_a_fault(root: Path) -> None:
    Path(os.fsdecode(os.fsencode(root) + b"/docs/\xff.md")).write_text("x")
    fault = next(one for one in sources(root, ("markdown_glob", "docs/*.md")) if isinstance(one, DocumentFault))
    assert (fault.source, fault.reason) == ("docs/\\udcff.md", "its name is not UTF-8")


def test_version_changes_with_the_file(root: Path) -> None:
    versions = set()
    for at, text in enumerate(("one", "two", "three")):
        (root / "b.txt").write_text(text)
        os.utime(root / "b.txt", ns=(at, at))
        (found,) = sources(root, ("text", "b.txt"))
        assert isinstance(found, Reference)
        versions.add(found.version)
    assert len(versions) == 3


@pytest.mark.parametrize(
    ("content", "text"),
    [
        pytest.param(b"Gr\xc3\xbc\xc3\x9fe", "Grüße", id="utf-8"),
        pytest.param(b"\xef\xbb\xbfGr\xc3\xbc\xc3\x9fe", "Grüße", id="utf-8-mark"),
        pytest.param("\ufeffGrüße".encode("utf-16-le"), "Grüße", id="utf-16-le"),
        pytest.param("\ufeffGrüße".encode("utf-16-be"), "Grüße", id="utf-16-be"),
        pytest.param("Grüße".encode("latin-1"), "Grüße", id="latin-1"),
        pytest.param("„Grüße“ – €".encode("cp1252"), "„Grüße“ – €", id="windows-1252"),
        pytest.param(b"a\r\nb\rc\x0cd\n", "a\nb\nc\nd\n", id="line-breaks"),
        pytest.param(b"a\x00b" + b"c" * 100, "ab" + "c" * 100, id="nul"),
        pytest.param(b"", "", id="empty"),
    ],
)
def test_text_is_decoded_and_cleaned(content: bytes, text: str, root: Path) -> None:
    (root / "b.txt").write_bytes(content)
    found = read(root, "text", "b.txt")
    assert (found.text, found.sha256) == (text, sha256(content).hexdigest())


@pytest.mark.parametrize("content", [b"\x7fELF\x02\x01\x01\x00\x00\x00\x00", b"\x00" * 9, os.urandom(2000)])
def test_binary_data_is_no_text(content: bytes, root: Path) -> None:
    (root / "b.txt").write_bytes(content)
    with pytest.raises(DocumentFault, match="it is binary data, not text"):
        read(root, "text", "b.txt")


def test_lines_are_the_places_of_a_text(root: Path) -> None:
    (root / "b.txt").write_text("one\n\n# Two #\nthree")
    found = read(root, "text", "b.txt")
    assert found.title == "Two"
    assert [found.places.at(found.text.index(word)) for word in ("one", "Two", "three")] == [
        "line 1",
        "line 3",
        "line 4",
    ]


def test_file_larger_than_the_limit_is_a_fault(root: Path) -> None:
    (root / "b.txt").write_bytes(b"x" * 11)
    assert len(read(root, "text", "b.txt", ReadLimits(size_bytes=11)).text) == 11
    with pytest.raises(DocumentFault, match=r"larger than 10 bytes\nfix: .* knowledge\.read\.max_size"):
        read(root, "text", "b.txt", ReadLimits(size_bytes=10))


@pytest.mark.parametrize(
    ("media_type", "content", "text", "place"),
    [
        pytest.param("text/html; charset=utf-8", "<h1>Füße</h1>".encode(), "# Füße", "section Füße", id="html"),
        pytest.param("text/html; charset=latin-1", "<p>Füße".encode("latin-1"), "Füße", "section top", id="charset"),
        pytest.param("text/markdown", b"# Feet", "# Feet", "line 1", id="markdown"),
        pytest.param("application/json", b'{"a": 1}', '{"a": 1}', "line 1", id="json"),
        pytest.param("application/pdf", make_pdf(["Feet"]), "Feet", "page 1", id="pdf"),
    ],
)
def test_address_is_read_by_its_media_type(
    media_type: str, content: bytes, text: str, place: str, web: WebServer, root: Path
) -> None:
    web.answers["/feet"] = Response(content, headers={"content-type": media_type})
    found = read(root, "url", web.url("/feet"))
    assert (found.text.strip(), found.places.at(0), found.source) == (text, place, web.url("/feet"))


def test_address_with_an_unknown_media_type_is_a_fault(web: WebServer, root: Path) -> None:
    web.answers["/"] = Response(b"PK", media_type="application/zip")
    with pytest.raises(DocumentFault, match='media type "application/zip"'):
        read(root, "url", web.url())


def test_secret_of_an_address_is_not_shown(root: Path) -> None:
    one = base(root, ("url", "http://ada:pa55word@127.0.0.1:1/?token=t0ken"))
    (found,) = find_documents(one)
    assert isinstance(found, Reference)
    with pytest.raises(DocumentFault) as caught:
        read_document(one, found)
    for shown in (repr(one), repr(found), found.source, str(caught.value), repr(caught.value)):
        assert "pa55word" not in shown
        assert "t0ken" not in shown


@pytest.mark.parametrize("charset", ["punycode", "idna", "utf-7", "unicode_escape", "zlib", "x" * 900, "\xff"])
def test_encoding_of_no_document_is_ignored(charset: str) -> None:
    assert read_text("Grüße +2AA- \\ud800".encode(), charset).text == "Grüße +2AA- \\ud800"


@pytest.mark.parametrize("charset", ["utf-16", "latin1", "windows-1251", "shift_jis", "gbk", "euc-kr", "koi8-r"])
def test_stated_encoding_is_used(charset: str) -> None:
    assert read_text("abc".encode(charset), charset).text == "abc"


@pytest.mark.parametrize("line", ["# a" + " #" * 500_000 + "b", "#" + " " * 1_000_000 + "b", "# " + "\t" * 1_000_000])
def test_title_of_a_long_line_takes_linear_time(line: str) -> None:
    """In quadratic time, one of them takes an hour."""
    assert read_text(line.encode()).text == line
