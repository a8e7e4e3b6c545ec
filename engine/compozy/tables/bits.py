"""Read sets of small numbers that are kept as the bits of an integer, such as the rows of a table."""

from __future__ import annotations

from collections.abc import Iterator


def bits(mask: int) -> Iterator[int]:
    """Yield the numbers of the bits that are set, the lowest first.

    >>> [*bits(0b1010)]
    [1, 3]
    """
    # By the lowest bit, because a shift for each number takes time in the square of the length.
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest
