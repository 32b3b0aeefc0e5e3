"""Which files of a session's folder are parts of its tables.

A session may come from anywhere, so only regular files with the names of parts count; a link could lead
out of the folder, and a pipe would make its reader wait for ever.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from tracelab.errors import NotASession

MAX_TIME_NS = 1 << 62  #: far beyond any clock: what tells of a later time is damaged
_PART = re.compile(r"part-(\d{6,18})\.(parquet|arrows)")
_TEMPORARY = re.compile(r"(part-\d{6,18}\.parquet|manifest\.json)\.tmp")


@dataclass(frozen=True, slots=True)
class Files:
    """The part files of one table, in order of their numbers."""

    closed: tuple[Path, ...] = ()  #: parquet
    streams: tuple[Path, ...] = ()  #: Arrow streams that no parquet file has replaced

    def __bool__(self) -> bool:
        return bool(self.closed or self.streams)


def part_number(part: Path) -> int:
    """Number of a part, from its name."""
    return int(part.name.partition("-")[2].partition(".")[0])


def files_of(session: Path, table: str) -> Files:
    """The parts of a table; a stream whose number exists as parquet is left out.

    Raises NotASession for a link or a special file among them.
    """
    found: dict[str, dict[int, Path]] = {"parquet": {}, "arrows": {}}
    for entry in _entries(session / table):
        if match := _PART.fullmatch(entry.name):
            if entry.is_symlink() or not entry.is_file(follow_symlinks=False):
                raise NotASession(_strange(entry.path))
            found[match[2]][int(match[1])] = Path(entry.path)
    closed, streams = found["parquet"], found["arrows"]
    return Files(
        tuple(closed[n] for n in sorted(closed)),
        tuple(streams[n] for n in sorted(streams.keys() - closed.keys())),
    )


def leftovers(session: Path, tables: tuple[str, ...]) -> list[Path]:
    """What a killed writer left behind: temporary files, and streams that exist as parquet too."""
    found = []
    for folder, table in [(session, ""), *((session / t, t) for t in tables)]:
        current = set(files_of(session, table).streams) if table else set()
        for entry in _entries(folder):
            superseded = entry.name.endswith(".arrows") and _PART.fullmatch(entry.name)
            if _TEMPORARY.fullmatch(entry.name) or (superseded and table and Path(entry.path) not in current):
                found.append(Path(entry.path))
    return found


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    if folder.is_symlink():
        raise NotASession(_strange(str(folder)))
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise NotASession(f"cannot list {folder}: {error.strerror}; make it a readable folder") from error


def _strange(path: str) -> str:
    return (
        f"{path} is a link or a special file where a session has regular files only; "
        "replace it by the file itself, or take it out of the folder"
    )
