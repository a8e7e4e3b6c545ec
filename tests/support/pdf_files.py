"""PDF files for tests, written byte by byte."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

_ENCRYPTED = b"/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <%b> /U <%b> >> /ID [<00> <00>] " % (
    b"41" * 32,
    b"42" * 32,
)


def make_pdf(pages: Sequence[str], title: str = "", *, encrypted: bool = False) -> bytes:
    """Return a PDF whose pages show one line of text each."""
    contents = [_stream(b"BT /F1 12 Tf 72 720 Td (%b) Tj ET" % page.encode()) for page in pages]
    return _file(contents, b"/Title (%b)" % title.encode(), _ENCRYPTED if encrypted else b"")


def make_growing_pdf(size: int) -> bytes:
    """Return a small PDF with a page whose content is `size` blanks."""
    packed = zlib.compress(b" " * size, 1)
    return _file([b"<< /Filter /FlateDecode /Length %d >> stream\n%b\nendstream" % (len(packed), packed)])


def make_slow_pdf(levels: int) -> bytes:
    """Return a small PDF with a page that draws 10**`levels` forms."""
    forms = [
        b"<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /Font << /F1 3 0 R >> %b >> /Length %d >> "
        b"stream\n%b\nendstream" % (named, len(drawn), drawn)
        for level in range(levels)
        for named, drawn in [
            (b"/XObject << /X %d 0 R >>" % (level + 6), b"/X Do " * 10)
            if level < levels - 1
            else (b"", b"BT /F1 1 Tf (x) Tj ET")
        ]
    ]
    return _file([_stream(b"/X Do")], forms=forms)


def _stream(content: bytes) -> bytes:
    return b"<< /Length %d >> stream\n%b\nendstream" % (len(content), content)


def _file(contents: Sequence[bytes], info: bytes = b"", trailer: bytes = b"", forms: Sequence[bytes] = ()) -> bytes:
    """Return a file: catalogue, pages, font and information are the objects 1 to 4, then come the forms and pages."""
    first = 5 + len(forms)
    kids = b" ".join(b"%d 0 R" % (first + 2 * at) for at in range(len(contents)))
    named = b"/XObject << /X 5 0 R >>" if forms else b""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%b] /Count %d >>" % (kids, len(contents)),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< %b >>" % info,
        *forms,
    ]
    for at, content in enumerate(contents):
        resources = b"<< /Font << /F1 3 0 R >> %b >>" % named
        page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources %b /Contents %d 0 R >>"
        objects += [page % (resources, first + 2 * at + 1), content]
    text, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(text))
        text += b"%d 0 obj %b endobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    head = b"xref\n0 %d\n0000000000 65535 f \n%b" % (len(objects) + 1, table)
    end = b"trailer << /Size %d /Root 1 0 R /Info 4 0 R %b>>\nstartxref\n%d\n%%%%EOF\n"
    return text + head + end % (len(objects) + 1, trailer, len(text))
