"""Text of HTML pages."""

from __future__ import annotations

import pytest

from compozy.knowledge.documents import UnreadableDocument
from compozy.knowledge.html_reader import LIMIT_BYTES, read_html

PAGE = """<!doctype html><html><head><title>The
 ferry</title><style>p {}</style><script>var hidden = 1</script></head><body>
<nav>Home</nav><h1>Ferry <i>times</i></h1><p>It   leaves <b>at</b>
nine.<br>Daily.</p><ul><li>Adults<ul><li>five</ul> euros<li>Children</ul>
<h2>Rules</h2><pre>
no   dogs
  at all
</pre><table><tr><th>Day</th><th>Time</th></tr><tr><td>Monday<td>9</table>
<noscript>hidden</noscript><template>hidden</template>Last &amp; least</body></html>"""


def test_blocks_are_lines_and_headings_are_sections() -> None:
    found = read_html(PAGE.encode())
    assert found.title == "The ferry"
    assert found.text.split("\n") == [
        "Home", "", "# Ferry times", "", "It leaves at nine.", "Daily.", "", "- Adults", "- five", "euros",
        "- Children", "", "## Rules", "", "no   dogs", "  at all", "", "Day | Time", "Monday | 9", "Last & least",
    ]  # fmt: skip
    places = [found.places.at(found.text.index(word)) for word in ("Home", "nine", "Rules", "Monday")]
    assert places == ["section top", "section Ferry times", "section Rules", "section Rules"]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("<meta charset=latin-1><p>Füße".encode("latin-1"), id="meta"),
        pytest.param('<META http-equiv=x content="text/html; charset=latin-1">Füße'.encode("latin-1"), id="equivalent"),
        pytest.param("\ufeff<p>Füße".encode("utf-16-le"), id="byte-order-mark"),
        pytest.param("<p>Füße".encode(), id="utf-8"),
        pytest.param("<meta charset=nonsense><p>Füße".encode("cp1252"), id="unknown"),
        pytest.param(b"<p>F&uuml;&#xDF;e", id="entities"),
    ],
)
def test_stated_encoding_of_a_page_is_used(content: bytes) -> None:
    assert read_html(content).text.strip() == "Füße"


@pytest.mark.parametrize(
    "content", ["", "<", "<p>", "</p>", "<!--", "<title>", "a<b", "<table>x", "<h1></h1>", "<h1>a"]
)
def test_malformed_page_is_read(content: str) -> None:
    found = read_html(content.encode())
    assert len(found.places.starts) == len(found.places.names)


def test_title_is_the_first_heading_without_a_stated_one() -> None:
    assert read_html(b"<p>a<h2>b</h2><h1>c</h1>").title == "b"


def test_large_page_is_refused() -> None:
    with pytest.raises(UnreadableDocument, match="larger than"):
        read_html(b" " * (LIMIT_BYTES + 1))
