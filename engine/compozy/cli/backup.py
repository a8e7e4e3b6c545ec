"""`compozy backup`: one file with everything that is kept, also while the server runs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from compozy.cli.options import configuration_options, format_option
from compozy.cli.output import print_json, print_line
from compozy.cli.prepare import prepared
from compozy.cli.status import with_mode_of_server


@click.command(name="backup", epilog="Example: compozy backup --mode persistent --output monday.tar.gz")
@configuration_options
@format_option()
@click.option("--output", metavar="FILE", help="Archive to write; compozy-backup-TIME.tar.gz when not given.")
def command(format_: str, output: str | None, strict: bool, **options: object) -> None:
    """Write database, Temporal and Redis into one file; the server may run meanwhile."""
    from compozy.backup.take import back_up

    options, _ = with_mode_of_server(options)
    resolved = prepared(options, strict).resolved
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    target = Path(str(options.get("cwd") or ".")) / (output or f"compozy-backup-{stamp}.tar.gz")
    manifest = back_up(resolved, target)
    size = target.stat().st_size
    if format_ == "json":
        print_json(
            {
                "file": str(target),
                "bytes": size,
                "files": dict(manifest.files),
                "created_at": manifest.created_at,
            }
        )
        return
    print_line(f"{target}: {len(manifest.files)} files, {size} bytes")
    print_line(f"restore it with: compozy restore {target} --mode {resolved.mode}")
