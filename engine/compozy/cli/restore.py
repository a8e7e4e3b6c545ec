"""`compozy restore`: restore a backup; all of it, or nothing is changed."""

from __future__ import annotations

from pathlib import Path

import click

from compozy.cli.options import configuration_options, format_option
from compozy.cli.output import print_json, print_line, print_note
from compozy.cli.prepare import prepared
from compozy.cli.status import with_mode_of_server


@click.command(name="restore", epilog="Example: compozy restore monday.tar.gz --mode persistent")
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@configuration_options
@format_option()
@click.option("--force", is_flag=True, help="Move data that is there aside first; nothing is deleted.")
@click.option("--accept-unsigned", is_flag=True, help="Restore a backup that the key of this project did not sign.")
def command(file: Path, format_: str, force: bool, accept_unsigned: bool, strict: bool, **options: object) -> None:
    """Check a backup and put it where the components keep their data; the server must be stopped."""
    from compozy.backup.restore import restore

    options, _ = with_mode_of_server(options)
    resolved = prepared(options, strict).resolved
    restored = restore(resolved, file, force=force, accept_unsigned=accept_unsigned)
    manifest, aside = restored.manifest, [str(path) for path in restored.aside]
    for name in restored.left_out:
        print_note(f"{name} was skipped: it is in the backup, but mode {resolved.mode} does not keep it")
    for name in restored.missing:
        print_note(f"{name} is not in the backup; its present data was left unchanged")
    if format_ == "json":
        about = {"created_at": manifest.created_at, "aside": aside, "verified": restored.verified}
        lists = {"left_out": list(restored.left_out), "missing": list(restored.missing)}
        print_json({"file": str(file), "files": dict(manifest.files), **about, **lists})
        return
    signature = ", signature is valid" if restored.verified else ""
    for path in aside:
        print_line(f"moved aside: {path}")
    print_line(f"{len(manifest.files)} files of {manifest.created_at} restored; checksums agree{signature}")
