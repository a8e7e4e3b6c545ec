"""Derive the limits of the HTTP interface from the limit of open files.

Connections never use up all descriptors: stores, children and tools keep a reserve, and requests in progress are fewer
than connections, so that health checks are always answered.
"""

from __future__ import annotations

import resource

from compozy.base.record import dataclass

_MOST_FILES = 8192
_MOST_CONNECTIONS = 1000
_FEWEST_CONNECTIONS = 8
# Descriptors for stores, children and files of tools.
_RESERVED_FILES = 128


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the HTTP interface: seconds, and numbers of open connections and of requests at work.

    `head_s` also bounds an unread rest of a body, `write_s` is how long a client may leave an answer unread.
    """

    connections: int = _MOST_CONNECTIONS
    requests: int = _MOST_CONNECTIONS * 3 // 4
    head_s: float = 10.0
    write_s: float = 30.0
    linger_s: float = 2.0


def raise_file_limit() -> None:
    """Raise the soft limit of open files as far as the hard limit and `_MOST_FILES` allow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def open_file_limits() -> Limits:
    """Return the limits that fit this process's limit of open files."""
    return limits_for(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def limits_for(open_files: int) -> Limits:
    """Return the limits that leave at least half of `open_files`, the soft limit, to everything else.

    >>> limits_for(1024).connections, limits_for(256).connections, limits_for(64).connections
    (448, 64, 8)
    """
    if open_files == resource.RLIM_INFINITY:
        return Limits()
    most = min(_MOST_CONNECTIONS, max(_FEWEST_CONNECTIONS, (open_files - _RESERVED_FILES) // 2))
    return Limits(connections=most, requests=most * 3 // 4)
