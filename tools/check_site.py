"""Check that every link within the built documentation site leads somewhere: `python tools/check_site.py FOLDER`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path

_LINK = re.compile(r'(?:href|src)="(?!https?:|mailto:|data:)([^"]*)"')
_GENERATED = "__"  # anchors of the page's own script


def broken_links(folder: Path) -> Iterator[str]:
    """Yield page and target of each link to a file or an anchor that does not exist."""
    pages = {page.resolve(): page.read_text(encoding="utf-8") for page in folder.rglob("*.html")}
    anchors = {page: set(re.findall(r'id="([^"]+)"', text)) for page, text in pages.items()}
    for page, text in pages.items():
        for link in set(_LINK.findall(text)) if page.name != "404.html" else ():
            file, _, anchor = unescape(link).partition("#")
            target = (page.parent / file).resolve() if file else page
            target = target / "index.html" if target.is_dir() else target
            known = anchors.get(target, {anchor}) | {""}
            if not target.exists() or (anchor not in known and not anchor.startswith(_GENERATED)):
                yield f"{page}: {link}"


if __name__ == "__main__":
    sys.exit("\n".join(sorted(broken_links(Path(sys.argv[1])))) or 0)
