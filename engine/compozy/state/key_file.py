"""Provide the keys that encrypt what Temporal stores: written ones, those of a file, or a random one.

The key file is readable by its owner alone; a file that another user may read or change is refused.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from compozy.base.output_file import open_regular, write_file
from compozy.base.ownership import unsafe_status
from compozy.base.system_hints import hint_for
from compozy.errors import DriverError
from compozy.settings.keyring import Keyring, parse_keyring, random_key
from compozy.state.undo import UndoLog

_MAX_BYTES = 65536


def load_keyring(
    text: str | None, file: str | None, *, undo: UndoLog | None = None, state_dir: str | None = None
) -> Keyring:
    """Return the keys of `text`, else those of `file`, else a random one.

    With `undo` a missing file is created, and recorded in it if it is in `state_dir`.

    Raises:
        DriverError: the text or the file holds no keys, or the file is missing, not private or cannot be read.
    """
    if text:
        return _parsed(text, "temporal.encryption_key")
    if not file:
        return parse_keyring(random_key())
    if undo is not None and not os.path.lexists(file):
        _create(file, undo, state_dir)
    return _parsed(_read(file), file)


def _parsed(text: str, where: str) -> Keyring:
    try:
        return parse_keyring(text)
    except ValueError as error:
        raise DriverError(f"{where} holds no usable encryption key: {error}", hint="write 32 bytes, base64") from error


def _create(file: str, undo: UndoLog, state_dir: str | None) -> None:
    try:
        undo.create_directory(Path(file).parent)
        write_file(file, random_key() + "\n", replace=False)
    except FileExistsError:
        # Another start created it meanwhile. Its key counts, and a rollback of this start must not remove it.
        return
    except OSError as error:
        raise DriverError(f"{file} cannot be written: {error.strerror}", hint=hint_for(error)) from error
    # A file elsewhere may be shared: another project may have encrypted with its key before this start fails.
    if state_dir is not None and Path(file).is_relative_to(state_dir):
        undo.record_data(file)


def _read(file: str) -> str:
    try:
        with open_regular(file) as stream:
            # Of the open file: the one at the path could be exchanged between check and reading.
            status = os.fstat(stream.fileno())
            content = stream.read(_MAX_BYTES)
    except FileNotFoundError as error:
        hint = "restore it from a backup, or set temporal.encryption_key"
        raise DriverError(f"encryption key file {file} does not exist", hint=hint) from error
    except OSError as error:
        raise DriverError(f"{file} cannot be read: {error.strerror}", hint="check owner and permissions") from error
    reason = unsafe_status(status)
    if reason is None and status.st_mode & (stat.S_IRGRP | stat.S_IROTH):
        reason = f"other users may read it (mode {stat.S_IMODE(status.st_mode):04o})"
    if reason is not None:
        raise DriverError(f"encryption key file {file} is not private: {reason}", hint=f"chmod 600 {file}")
    return content.decode("ascii", "replace")
