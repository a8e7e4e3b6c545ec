"""Write what derives from rules, commands and measurements: `PYTHONPATH=tools:. python -m docs [--check] [ROOT]`.

ROOT is the root of the repository, by default the working directory. With `--check`
nothing is written, and the exit code is 1 when a file is not what it should be.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.results import last

from compozy.cli.main import cli
from compozy.cli.rules import lifecycle_graph
from compozy.decisions import read_decisions
from compozy.graph.svg import graph_svg
from compozy.rulebook import load_rulebook
from compozy.rulebook.rows import Rulebook
from compozy.schema.schema import file_schema, shown_schema
from compozy.server.openapi import openapi_document
from compozy.server.routes import ROUTES
from compozy.tables.draw import table_graph
from compozy.tables.table import Table
from compozy.workflows.read.definition_shape import workflow_schema
from docs.constructs import expressions_page
from docs.measured import TITLES, measured_files, with_comparison
from docs.pages import findings_page, migrations_page, settings_page
from docs.reference import command_page, http_page
from docs.samples import sample_file, sample_variables
from docs.space import space_svg

ROOT = Path(__file__).parents[2]
VERIFIED = ROOT / "docs" / "internals" / "shipping.yaml"


def generated(rulebook: Rulebook) -> Mapping[str, str]:
    """Return every generated text by its path from the root of the repository."""
    verified = read_decisions(str(VERIFIED))
    stored = [result for name in TITLES if (result := last(name))]
    peers = next(result for result in stored if result.name == "peers")
    return {
        **measured_files(stored),
        "README.md": with_comparison((ROOT / "README.md").read_text(encoding="utf-8"), peers),
        "schemas/compozy.json": _json(file_schema(rulebook, "compozy.json")),
        "schemas/config.json": _json(file_schema(rulebook, "config.json")),
        "schemas/config-show.json": _json(shown_schema(rulebook, "config-show.json")),
        "schemas/workflow.json": _json(workflow_schema()),
        "docs/configuration/settings.md": settings_page(rulebook),
        "docs/configuration/findings.md": findings_page(rulebook),
        "docs/configuration/migrations.md": migrations_page(rulebook),
        "docs/configuration/compozy.sample.yaml": sample_file(rulebook),
        "docs/configuration/.env.example": sample_variables(rulebook),
        "docs/reference/command-line.md": command_page(cli),
        "docs/reference/expressions.md": expressions_page(),
        "docs/reference/http-api.md": http_page(openapi_document(ROUTES)),
        "docs/images/state-machine.svg": graph_svg(lifecycle_graph(rulebook)),
        "docs/images/resolution.svg": graph_svg(table_graph(_resolving(rulebook), inputs=False)),
        "docs/images/verification-table.svg": space_svg(verified, "Tariff"),
        "docs/images/verification-chain.svg": space_svg(verified, "Label"),
    }


def _resolving(rulebook: Rulebook) -> list[Table]:
    return [table for table in rulebook.ruleset.tables.values() if table.stage == "resolve"]


def _json(schema: object) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def drifted(root: Path, texts: Mapping[str, str]) -> list[str]:
    """Return the files below `root` that are missing or differ from their generated text."""
    return [name for name, text in texts.items() if _read(root / name) != text]


def _read(file: Path) -> str | None:
    return file.read_text(encoding="utf-8") if file.is_file() else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or check them, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m docs", description=__doc__)
    parser.add_argument("root", nargs="?", default=".", type=Path, help="root of the repository")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 when a file would change")
    given = parser.parse_args(arguments)
    texts = generated(load_rulebook())
    changed = drifted(given.root, texts)
    for name in changed:
        if not given.check:
            (given.root / name).parent.mkdir(parents=True, exist_ok=True)
            (given.root / name).write_text(texts[name], encoding="utf-8")
        sys.stdout.write(f"{name} {'differs' if given.check else 'written'}\n")
    return int(given.check and bool(changed))


if __name__ == "__main__":
    sys.exit(main())
