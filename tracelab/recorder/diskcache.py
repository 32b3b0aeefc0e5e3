"""What takes long to make from a traced file, kept on disk for the next recording.

Keys are hashes of everything that a value was made from, so that a value is never stale. The folder belongs to
the user who records, and to nobody else: values in it are trusted.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from pathlib import Path

MAX_BYTES = 1 << 30  #: of one cache; the values that were not used for longest go
_SUFFIX = ".cache"
_BLOCK_BYTES = 1 << 20
_CHECK_BYTES = 41  #: hexadecimal, and a newline


def digest(*parts: bytes) -> str:
    """A key made from `parts`, in hexadecimal."""
    mixed = hashlib.blake2b(digest_size=20)
    for part in parts:
        mixed.update(len(part).to_bytes(8, "little"))
        mixed.update(part)
    return mixed.hexdigest()


def _check(mixed: hashlib.blake2b) -> bytes:
    return mixed.hexdigest().encode() + b"\n"


class DiskCache:
    """Values in a folder; without one that can be trusted and written to, a cache that keeps nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder if _is_ours(folder) else None
        self._forget_old()

    @classmethod
    def of_user(cls, name: str) -> DiskCache:
        """The cache `name` below $XDG_CACHE_HOME/tracelab, or ~/.cache/tracelab."""
        base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        return cls(Path(base) / "tracelab" / name)

    def get(self, key: str) -> bytes | None:
        """The value of a key, or None."""
        path = self.path(key)
        with contextlib.suppress(OSError):
            return path.read_bytes()[:-_CHECK_BYTES] if path else None
        return None

    def path(self, key: str) -> Path | None:
        """The file that has the value of a key and, after it, _CHECK_BYTES by which it was checked; or None.

        Nothing is written to it any more, so that it may be mapped.
        """
        if self.folder is None:
            return None
        path = self.folder / f"{key}{_SUFFIX}"
        try:
            with path.open("rb") as file:
                left = os.fstat(file.fileno()).st_size - _CHECK_BYTES
                mixed = hashlib.blake2b(digest_size=20)
                while left > 0 and (block := file.read(min(_BLOCK_BYTES, left))):
                    mixed.update(block)
                    left -= len(block)
                sound = not left and file.read() == _check(mixed)
            os.utime(path)
        except OSError:
            return None
        return path if sound else None

    def put(self, key: str, value: bytes) -> None:
        """Keep a value; a full disk, or any other trouble, only means that it is not kept."""
        if self.folder is None:
            return
        part = self.folder / f"{key}.{os.getpid()}.tmp"
        try:
            with part.open("wb") as file:
                file.write(value)
                file.write(_check(hashlib.blake2b(value, digest_size=20)))
            part.replace(self.folder / f"{key}{_SUFFIX}")
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    def _forget_old(self) -> None:
        if self.folder is None:
            return
        with contextlib.suppress(OSError):
            found = [(p.stat().st_atime, p.stat().st_size, p) for p in self.folder.iterdir()]
            size = sum(bytes_ for _, bytes_, _ in found)
            for _, bytes_, path in sorted(found):
                if size <= MAX_BYTES:
                    break
                path.unlink(missing_ok=True)
                size -= bytes_


def _is_ours(folder: Path) -> bool:
    """Whether a folder is there, or could be made, and nobody else can write to it or to the one above."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (folder, folder.parent):
            status = path.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
                return False
    except OSError:
        return False
    return os.access(folder, os.W_OK)
