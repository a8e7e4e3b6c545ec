"""Run the benchmarks and print one table: `python -m benchmarks [--short] [NAME ...]`.

`python -m benchmarks against OTHER_CHECKOUT` compares this checkout with another one, `python -m benchmarks peers` with
other engines, which `make bench-peers` installs. A run that is not short is compared with the stored one and replaces
it; `make generate` then writes the documentation's page and pictures.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import against, results
from benchmarks.measurement import Measurement

MODULES = ("start", "throughput", "configuration", "tables", "testing", "vectors")
PEERS = "peers"


def main() -> None:
    """Run what the arguments name, everything without them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    known = ", ".join(MODULES)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which of {known}; all of them by default")
    parser.add_argument("--short", action="store_true", help="fewer rounds")
    arguments = parser.parse_args()
    if arguments.names[:1] == ["against"]:
        if len(arguments.names) != 2:
            parser.error("against takes one argument: the directory of the other checkout")
        print_rows(against.run(Path(arguments.names[1]), arguments.short))
        return
    if unknown := set(arguments.names) - {*MODULES, PEERS}:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {known}, {PEERS}")
    for name in arguments.names or MODULES:
        module = importlib.import_module(f"benchmarks.{name}")
        machine = results.this_machine()
        print(f"\n## {name}\n")
        rows = module.run(arguments.short)
        print_rows(rows)
        if not arguments.short:
            keep(results.measured(name, machine, rows))
        sys.stdout.flush()


def keep(result: results.Result) -> None:
    """Print how a complete run differs from the stored one, and store it."""
    if before := results.last(result.name):
        print(f"\nRatios since {before.date} ({before.commit}):\n")
        print("\n".join(f"- {line}" for line in results.compared(result, before)))
    results.save(result)


def print_rows(rows: Sequence[Measurement]) -> None:
    """Print measurements as a Markdown table."""
    print("| what | value | reference | value | ratio |\n|---|---|---|---|---|")
    for row in rows:
        reference = f"{row.reference_value:.4g} {row.unit}" if row.reference else "-"
        ratio = f"{row.ratio:.2f}" if row.reference else "-"
        print(f"| {row.name} | {row.value:.4g} {row.unit} | {row.reference or '-'} | {reference} | {ratio} |")


if __name__ == "__main__":
    main()
