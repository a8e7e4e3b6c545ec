"""Chunks of documents."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from compozy.knowledge.chunks import Chunk, split
from compozy.knowledge.documents import Document, line_places

SIZES = st.integers(1, 60).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1)))
TEXTS = st.lists(
    st.sampled_from(["a", "word", " ", "\n", "\n\n", ". ", "# ", "日本。", "e\u0301", "\t", "\x0b", "🏴"])
).map("".join)


def chunks(text: str, size: int, overlap: int) -> list[Chunk]:
    return split(Document("a.md", "", text, None, line_places(text)), size, overlap)


@given(TEXTS | st.text(), SIZES)
@example(" " * 100 + "a", (10, 9))
@example("a" * 100, (1, 0))
def test_chunks_hold_everything_in_order(text: str, sizes: tuple[int, int]) -> None:
    size, overlap = sizes
    found = chunks(text, size, overlap)
    covered = {at for chunk in found for at in range(chunk.start, chunk.start + len(chunk.text))}
    assert [at for at, char in enumerate(text) if not char.isspace() and at not in covered] == []
    assert [chunk.ordinal for chunk in found] == list(range(len(found)))
    for chunk in found:
        assert chunk.text == text[chunk.start : chunk.start + len(chunk.text)] == chunk.text.strip() != ""
        assert len(chunk.text) <= size
        assert chunk.place == f"line {text.count(chr(10), 0, chunk.start) + 1}"
    for one, two in zip(found, found[1:], strict=False):
        assert one.start < two.start
        assert one.start + len(one.text) - two.start <= overlap
        assert one.start + len(one.text) < two.start + len(two.text)
    assert found == chunks(text, size, overlap)


@pytest.mark.parametrize(
    ("text", "size", "parts"),
    [
        pytest.param("One is here. Two is there.", 20, ["One is here.", "Two is there."], id="sentence"),
        pytest.param("one two a\nthree four five", 16, ["one two a", "three four five"], id="line"),
        pytest.param("one. two\n\nthree. four five", 18, ["one. two", "three. four five"], id="paragraph"),
        pytest.param("a b\n\nc d\n# Title\n\ntext", 14, ["a b\n\nc d", "# Title\n\ntext"], id="heading"),
        pytest.param("one two three", 9, ["one two", "three"], id="word"),
        pytest.param("abcdefghij", 4, ["abcd", "efgh", "ij"], id="nothing"),
        pytest.param("彼は来た。私も行く。", 7, ["彼は来た。", "私も行く。"], id="ideographic"),
    ],
)
def test_chunk_ends_at_the_strongest_boundary(text: str, size: int, parts: list[str]) -> None:
    assert [chunk.text for chunk in chunks(text, size, 0)] == parts


def test_chunk_repeats_whole_words_of_the_one_before() -> None:
    assert [chunk.text for chunk in chunks("one two three four five six", 14, 6)] == [
        "one two three", "three four", "four five six",
    ]  # fmt: skip


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (5, 5), (5, 6), (5, -1)])
def test_impossible_sizes_are_refused(size: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="cannot overlap"):
        chunks("text", size, overlap)


def test_steps_are_linear_in_the_length_of_one_line() -> None:
    """A text of a million characters without any boundary, and one of words."""
    assert len(chunks("x" * 1_000_000, 512, 64)) == -(-(1_000_000 - 64) // (512 - 64))
    assert len(chunks("word " * 200_000, 512, 64)) < 2400
