"""Read PDF: the text of each page, with pages as places. Only a process of its own may read content from elsewhere."""

from __future__ import annotations

from compozy.knowledge.documents import Extract, Places, UnreadableDocument
from compozy.knowledge.text_reader import clean

_PASSWORD = "password"


def read_pdf(content: bytes) -> Extract:
    """Return the text of a PDF.

    Raises:
        UnreadableDocument: it is encrypted, damaged, or has no text.
    """
    from pypdfium2 import PdfDocument, PdfiumError

    try:
        with PdfDocument(content) as pdf:
            title = pdf.get_metadata_value("Title").strip() or None
            pages = [clean(page.get_textpage().get_text_range()).strip() for page in pdf]
    except PdfiumError as error:
        if _PASSWORD in str(error).casefold():
            raise UnreadableDocument("the PDF is encrypted", "save it without a password") from error
        raise UnreadableDocument("the PDF is damaged", "open it in a viewer, and save or export it anew") from error
    if not any(pages):
        raise UnreadableDocument("the PDF has no text", "recognise the text of scanned pages (OCR) first")
    starts = [0]
    for page in pages[:-1]:
        # Two characters are the blank line between pages.
        starts.append(starts[-1] + len(page) + 2)
    return Extract("\n\n".join(pages), title, Places("page", starts))
