"""`compozy restore`: put a backup back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compozy.cli.options import configuration_options, format_option
from compozy.cli.output import print_json
from compozy.cli.start import prepared


@click.command(name="restore", epilog="Example: compozy restore monday.tar.gz --mode persistent")
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@configuration_options
@format_option()
@click.option("--force", is_flag=True, help="Move data that is there aside first; nothing is deleted.")
def command(file: Path, format_: str, force: bool, strict: bool, **options: Any) -> None:
    """Check a backup and put it where the components keep their data; the server must be stopped."""
    from compozy.backup import restore

    resolved = prepared(options, strict).resolved
    manifest = restore(resolved, file, force=force)
    if format_ == "json":
        print_json({"file": str(file), "files": dict(manifest.files), "created_at": manifest.created_at})
    else:
        click.echo(f"{len(manifest.files)} files of {manifest.created_at} restored; checksums agree")
