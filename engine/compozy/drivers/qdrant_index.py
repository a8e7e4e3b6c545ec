"""Build the index of a shard of Qdrant's engine in a process of its own, where it blocks no other work.

python -m compozy.drivers.qdrant_index PATH DIMENSION METRIC M EF_CONSTRUCTION
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
from pathlib import Path
from typing import Protocol

from compozy.drivers.process import Command, Process
from compozy.drivers.qdrant_collection import CollectionOptions
from compozy.errors import DriverError

NICENESS = 10
_M, _EF_CONSTRUCTION = 16, 100
_FULL_SCAN_KB, _INDEXED_KB = 10_000, 1
_POLL_S = 0.2
log = logging.getLogger("compozy.vector")


class Copied(Protocol):
    """A shard that continues to be written while a copy of it is indexed."""

    def duplicate(self) -> Path:
        """Return the path of a new copy."""

    def adopt(self, path: Path) -> None:
        """Use the copy in the place of the shard, with what was written since."""

    def forget(self) -> None:
        """End what `duplicate` has begun."""

    def index(self) -> None:
        """Begin the next build if enough was written meanwhile."""


class IndexBuild:
    """A build of the index of a shard in the background."""

    def __init__(self, shard: Copied, options: CollectionOptions, dimension: str, metric: str) -> None:
        graph = (options.m or _M, options.ef_construction or _EF_CONSTRUCTION)
        self._arguments = (dimension, metric, *map(str, graph))
        self._shard = shard
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._run, name="compozy-vector-index", daemon=True)
        self._thread.start()

    def running(self) -> bool:
        """Return True until the index is built or has failed."""
        return self._thread.is_alive()

    def cancel(self) -> None:
        """End the process, and wait for the thread."""
        self._cancelled.set()
        self._thread.join()

    def _run(self) -> None:
        path = None
        try:
            path = self._shard.duplicate()
            if self._built(path):
                self._shard.adopt(path)
                path = None
        except (DriverError, OSError) as error:
            reason = error.reason if isinstance(error, DriverError) else str(error)
            log.warning("vector.index_failed", extra={"reason": reason})
        finally:
            self._shard.forget()
            if path is not None:
                shutil.rmtree(path, ignore_errors=True)
        # What was written during the build may be enough for the next one.
        self._shard.index()

    def _built(self, path: Path) -> bool:
        """Return True if the process has built the index, False if it was cancelled.

        Raises:
            DriverError: it has failed.
        """
        # Isolated: neither the working directory nor the user's variables decide which Python is imported.
        module = (sys.executable, "-I", "-m", "compozy.drivers.qdrant_index")
        process = Process(Command("qdrant-index", (*module, str(path), *self._arguments)), _ignore, _ignore)
        while not process.wait(_POLL_S):
            if self._cancelled.is_set():
                process.kill()
        if process.code() != 0 and not self._cancelled.is_set():
            raise DriverError(f"the index of vectors was not built: {process.tail() or process.code()}")
        return not self._cancelled.is_set()


def _ignore(_: object) -> None:
    """Do nothing with a line or an end."""


def main(path: str, dimension: str, metric: str, m: str, ef_construction: str) -> None:
    """Index what is in the shard at `path`, and remove what was deleted from it."""
    import qdrant_edge as edge

    from compozy.drivers.qdrant_shard import DISTANCES

    # Everything else on the machine has precedence: the index only makes later searches faster.
    os.nice(NICENESS)
    graph = edge.HnswIndexConfig(m=int(m), ef_construct=int(ef_construction), full_scan_threshold=_FULL_SCAN_KB)
    config = edge.EdgeConfig(
        vectors=edge.EdgeVectorParams(size=int(dimension), distance=DISTANCES[metric]), hnsw_config=graph,
        optimizers=edge.EdgeOptimizersConfig(indexing_threshold=_INDEXED_KB),
    )  # fmt: skip
    shard = edge.EdgeShard.load(path, config)
    shard.optimize()
    shard.flush()
    shard.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
