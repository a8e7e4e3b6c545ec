"""Ingest documents while the server is killed (`kill -9`) at random moments, and compare what is there with the files.

    python -m benchmarks.ingestion_kill [--megabytes 50] [--kills 5] [--seed 1]

Each moment is a number of ingested documents, so that the kills are spread over the ingestion on every machine.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from compozy.knowledge.bases import KnowledgeBase, SourceSetting
from compozy.knowledge.chunks import split
from compozy.knowledge.document_sources import find_documents, read_document
from compozy.knowledge.documents import Reference

COMPOZY = str(Path(sys.executable).parent / "compozy")
DOCUMENT_BYTES = 50_000
DEADLINE_S = 1_800.0
SETTINGS = {
    "mode": "persistent",
    "temporal": {"standalone": {"enable_ui": False}},
    "models": [{"id": "words", "provider": "wordllama"}],
    "knowledge": {
        "vector_dbs": [{"id": "near", "provider": "filesystem"}],
        "bases": [
            {"id": "docs", "store": "near", "embedder": "words", "sources": [{"type": "text", "path": "docs/0000.md"}]}
        ],
    },
}


def write_project(folder: Path, megabytes: float, chance: random.Random) -> int:
    """Write the configuration and the documents; return how many these are."""
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(3, 9))) for _ in range(3000)]
    settings = json.loads(json.dumps(SETTINGS))
    settings["knowledge"]["bases"][0]["sources"] = [{"type": "markdown_glob", "path": "docs/*.md"}]
    (folder / "compozy.yaml").write_text(json.dumps(settings))
    (folder / "docs").mkdir()
    count = max(1, round(megabytes * 1e6 / DOCUMENT_BYTES))
    for number in range(count):
        text = f"# Document {number}\n\n"
        while len(text) < DOCUMENT_BYTES:
            text += " ".join(chance.choices(words, k=chance.randint(6, 14))) + chance.choice([". ", ". ", ".\n\n"])
        (folder / "docs" / f"{number:04}.md").write_text(text)
    return count


@contextmanager
def server(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the server; it is killed at the end of the block."""
    command = [COMPOZY, "start", "--format", "json", "--port", "0"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert json.loads(process.stdout.readline())["event"] == "ready"
            yield process
        finally:
            os.kill(process.pid, signal.SIGKILL)


def ready_documents(folder: Path) -> int:
    """Return how many documents are ingested."""
    with closing(sqlite3.connect(f"file:{folder}/.compozy/compozy.db?mode=ro", uri=True, timeout=30)) as database:
        found = database.execute("SELECT count(DISTINCT source) FROM knowledge_chunks").fetchone()
        return int(found[0])


def wait_for(folder: Path, documents: int) -> None:
    """Return when at least so many documents are ingested."""
    deadline = time.monotonic() + DEADLINE_S
    while ready_documents(folder) < documents:
        if time.monotonic() > deadline:
            raise SystemExit(f"{documents} documents were not ingested within {DEADLINE_S:g} s")
        time.sleep(0.02)


def differences(folder: Path) -> list[str]:
    """Return how the stored chunks and vectors differ from those of the files."""
    base = KnowledgeBase("docs", folder, (SourceSetting("markdown_glob", "docs/*.md"),))
    wanted = Counter(
        (reference.source, chunk.ordinal, chunk.text)
        for reference in find_documents(base)
        if isinstance(reference, Reference)
        for chunk in split(read_document(base, reference))
    )
    with closing(sqlite3.connect(f"file:{folder}/.compozy/compozy.db?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT source, ordinal, text, id FROM knowledge_chunks").fetchall()
        discards = database.execute("SELECT count(*) FROM knowledge_discards").fetchone()[0]
    with closing(sqlite3.connect(f"file:{folder}/.compozy/vector/near.db?mode=ro", uri=True)) as vectors:
        ids = Counter(row[0] for row in vectors.execute("SELECT id FROM records"))
    stored = Counter(row[:3] for row in rows)
    found = {"missing": wanted - stored, "doubled or foreign": stored - wanted}
    chunks = Counter(row[3] for row in rows)
    found |= {"without a vector": chunks - ids, "vectors without a chunk": ids - chunks}
    named = [f"{sum(counts.values())} {name}" for name, counts in found.items() if counts]
    return [*named, *([f"{discards} vectors to be discarded"] if discards else [])]


def main() -> int:
    """Run the trial; return 1 where something is missing or doubled."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=50)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        documents = write_project(folder, options.megabytes, chance)
        moments = sorted(chance.sample(range(1, documents), options.kills))
        begun = time.monotonic()
        for at, moment in enumerate(moments):
            with server(folder):
                if at == 0:
                    subprocess.run([COMPOZY, "knowledge", "ingest", "docs", "--detach"], cwd=folder, check=True)
                wait_for(folder, moment)
                time.sleep(chance.random() * 0.2)
            print(f"killed after {ready_documents(folder)} of {documents} documents", flush=True)
        with server(folder):
            wait_for(folder, documents)
            show = [COMPOZY, "knowledge", "show", "docs", "--format", "json"]
            while (state := json.loads(subprocess.check_output(show, cwd=folder)))["status"] == "ingesting":
                time.sleep(0.5)
        found = differences(folder)
        print(f"{state['status']}: {state['documents']} documents, {state['chunks']} chunks in "
              f"{time.monotonic() - begun:.0f} s; {', '.join(found) or 'complete, nothing doubled'}")  # fmt: skip
    return 1 if found or state["status"] != "ready" else 0


if __name__ == "__main__":
    sys.exit(main())
