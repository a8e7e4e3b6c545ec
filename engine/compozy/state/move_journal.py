"""Rename several files and directories as one change, also when the process is killed in between.

All moves are written to a journal before the first one is made, and the journal is removed after the last one. A
journal that is found later is completed, or undone where the process had begun to undo it. Each move reaches the disk
before the next one, so the last move whose source is missing is the last one that was done.

A foreign checkout can contain a journal, so a journal is obeyed only for directories that contain a copy of it.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from pathlib import Path

from compozy.base.leftovers import remove_leftovers
from compozy.base.output_file import open_regular, sync_directory, write_file
from compozy.base.record import dataclass
from compozy.errors import StateDirectoryError
from compozy.state.file_lock import lock_beside
from compozy.state.undo import UndoLog

JOURNAL = ".compozy-moves.json"
ROOM = ".compozy-restore-"  # the beginning of the names of directories from which data is moved to its place


@dataclass(frozen=True, slots=True)
class Moves:
    """A change: `moves` are pairs of source and target in their order, `data` the paths whose locks protect them.

    The same journal lies in each of `folders`, so that it is found wherever a part of the data is used.
    """

    folders: tuple[str, ...]
    data: tuple[str, ...]
    moves: tuple[tuple[str, str], ...]
    undo: bool = False


def move_all(change: Moves) -> None:
    """Make every move or none; the caller holds the locks of the data.

    Raises:
        OSError: a move failed; those before it were undone.
    """
    _write(change)
    try:
        _complete(change)
    except OSError:
        backward = replace(change, undo=True)
        # On a full disk the journal stays as it is: if this process is killed now, the change is completed instead.
        with suppress(OSError):
            _write(backward)
        _complete(backward)
        raise


def pending(folders: Iterable[str | Path]) -> list[Path]:
    """Return the journals of interrupted changes in `folders`."""
    places = {os.path.join(os.path.realpath(folder), JOURNAL): None for folder in folders}
    return [Path(place) for place in places if os.path.lexists(place)]


def recover(folders: Sequence[str | Path]) -> None:
    """Complete or undo every interrupted change in `folders`, then remove leftovers of killed processes there.

    Raises:
        StateDirectoryError: a journal cannot be read or completed, or another process uses the data.
    """
    for journal in pending(folders):
        # It may have been completed together with the one before it.
        if os.path.lexists(journal):
            _recover(journal)
    for folder in folders:
        remove_leftovers(folder, ROOM)


def _recover(journal: Path) -> None:
    change = read_journal(journal)
    if not all(_is_same(Path(folder, JOURNAL), change) for folder in change.folders):
        # Killed before the last copy was written or after the first one was removed: no move is left to be made.
        journal.unlink()
        return
    with ExitStack() as held:
        for path in change.data:
            held.callback(lock_beside(path, UndoLog()).release)
        try:
            _complete(change)
        except OSError as error:
            raise StateDirectoryError(
                f"{journal} records an interrupted restore that cannot be completed: {error}",
                hint="see that the disk can be written, then run the command again",
            ) from error


def read_journal(journal: Path) -> Moves:
    """Return the change that a journal records.

    Raises:
        StateDirectoryError: it cannot be read.
    """
    try:
        with open_regular(journal) as stream:
            found = json.load(stream)
        moves = tuple((str(source), str(target)) for source, target in found["moves"])
        change = Moves(tuple(map(str, found["folders"])), tuple(map(str, found["data"])), moves, bool(found["undo"]))
        _check_places(journal, change)
        return change
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StateDirectoryError(
            f"{journal} cannot be read: {error}", hint="restore a backup with --force after moving it away"
        ) from error


def _check_places(journal: Path, change: Moves) -> None:
    """Refuse a journal that leads out of the directories that hold it.

    Raises:
        ValueError: it does.
    """
    if os.path.realpath(journal.parent) not in change.folders:
        raise ValueError("it belongs to another directory")
    for path in (*change.data, *(path for move in change.moves for path in move)):
        folder, name = os.path.split(path)
        above, room = os.path.split(real := os.path.realpath(folder))
        inside = real in change.folders or (above in change.folders and room.startswith(ROOM))
        if name in ("", ".", "..") or not inside:
            raise ValueError(f"{path} lies outside the directories of the data")


def _is_same(journal: Path, change: Moves) -> bool:
    return os.path.lexists(journal) and replace(read_journal(journal), undo=change.undo) == change


def _write(change: Moves) -> None:
    for folder in change.folders:
        write_file(Path(folder, JOURNAL), json.dumps(asdict(change), indent=2) + "\n")


def _complete(change: Moves) -> None:
    """Make the remaining moves in the direction of the journal, and remove the journal."""
    if change.undo:
        # Backwards, because a later move may have taken the name that an earlier one freed.
        for source, target in reversed(change.moves[: _completed(change.moves)]):
            _rename(target, source)
    else:
        for source, target in change.moves[_completed(change.moves) :]:
            _rename(source, target)
    for folder in change.folders:
        Path(folder, JOURNAL).unlink(missing_ok=True)
        sync_directory(folder)


def _completed(moves: Sequence[tuple[str, str]]) -> int:
    """Return the number of completed moves: up to the last missing source, because a move may refill an earlier one."""
    return next((number for number in range(len(moves), 0, -1) if not os.path.lexists(moves[number - 1][0])), 0)


def _rename(source: str, target: str) -> None:
    # `rename` replaces an existing file silently.
    if os.path.lexists(target) and not (os.path.isdir(target) and not os.listdir(target)):
        raise FileExistsError(errno.EEXIST, "it exists already", target)
    os.rename(source, target)
    for folder in dict.fromkeys((os.path.dirname(target), os.path.dirname(source))):
        sync_directory(folder)
