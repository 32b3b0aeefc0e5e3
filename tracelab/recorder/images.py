"""The files that code was loaded from, opened early enough to outlive the process that mapped them.

A process names a file by a path of its own mount namespace, may have replaced or deleted it since, and may be
gone. So a file is opened as soon as it is first mapped, wherever it can be found, and taken only if it is the
one that was mapped: by its build id, else by its inode.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator
from typing import TypeVar

from tracelab.recorder.elf import Elf, FileSource, MemorySource, NotElf, Source, open_regular

MAX_OPEN = (
    192  #: files held open; beyond, the one that was used for longest is closed, and opened again by path
)
MAX_HELD = 256  #: files that were opened early, and not asked for yet
VDSO, JIT = "[vdso]", "[jit]"
_DELETED = " (deleted)"
_ANONYMOUS = re.compile(r"$|//anon|\[heap\]|\[stack|\[anon|/dev/zero|/SYSV|anon_inode:")
_IN_MEMORY = re.compile(r"/memfd:|/dev/shm/")  #: files that JITs write to, though programs can be in them too
_MAX_KNOWN = 1 << 14  #: images that are recognised when they are mapped again


_Key = TypeVar("_Key")


class Image:
    """Code that was loaded as one: an ELF file, the vDSO, or what a process wrote into memory itself."""

    def __init__(self, number: int, path: str, *, pid: int = 0) -> None:
        self.number = number  #: never used again for another image
        self.module = path.encode("utf-8", "surrogateescape").decode(
            "utf-8", "replace"
        )  #: what a frame shows
        self.pid = pid  #: process that made the code, for JIT code; 0 for a file
        self.elf: Elf | None = None
        self.paths: tuple[str, ...] = ()  #: where the file can be opened again

    @property
    def is_jit(self) -> bool:
        """Whether a process wrote this code itself."""
        return self.module == JIT

    @property
    def is_file(self) -> bool:
        """Whether it came from a file, that of the vDSO not counted."""
        return self.module not in (JIT, VDSO)

    @property
    def build_id(self) -> bytes | None:
        """The build id in the file, if it has one."""
        return self.elf.build_id if self.elf else None

    @property
    def short_name(self) -> str:
        """The last part of its path."""
        return self.module.rpartition("/")[2] or self.module

    def base_of(self, start: int, file_offset: int) -> int:
        """Address of the image base of a mapping that begins at `start`.

        Without the file, that is where its offset 0 would be; code that was made in memory has base 0.
        """
        if self.is_jit:
            return 0
        if self.module == VDSO:
            return start
        relative = self.elf.relative_to_offset(file_offset) if self.elf else None
        return start - (file_offset if relative is None else relative)


class Images:
    """Every image that was seen, one object for equal ones."""

    def __init__(self) -> None:
        self._next = 1
        self._by_build_id: dict[tuple[bytes, str], Image] = {}
        self._by_file: dict[tuple[int, ...], Image] = {}
        self._lost: dict[tuple[bytes | None, tuple[int, int] | None, str], Image] = {}
        self._open: OrderedDict[int, FileSource] = OrderedDict()
        self._same_code: dict[bytes, Image] = {}  #: by build id alone
        self._held: OrderedDict[tuple[int, int, int, str], tuple[str, FileSource]] = OrderedDict()
        self._vdso: Image | None = None

    def jit(self, pid: int) -> Image:
        """A new image for code that a process makes."""
        return self._new(JIT, pid=pid)

    def find(
        self,
        pid: int,
        start: int,
        end: int,
        path: str,
        build_id: bytes | None = None,
        inode: tuple[int, int] | None = None,
    ) -> Image | None:
        """The image mapped at `start` to `end`; None when it is anonymous memory, which is code made by a JIT.

        An image whose file cannot be had, or is no ELF file, has no `elf`.
        """
        if path == VDSO:
            return self._own_vdso()
        deleted = path.endswith(_DELETED)
        path = path.removesuffix(_DELETED)
        if _ANONYMOUS.match(path):
            return None
        if build_id and (known := self._by_build_id.get((build_id, path))):
            return known
        for place, held in self._candidates(pid, start, end, path, deleted=deleted):
            source = held or open_regular(place)
            image = self._take(source, path, build_id, inode, (place, path)) if source else None
            if image is not None:
                return image if image.elf or not _IN_MEMORY.match(path) else None
        if build_id and (known := self._same_code.get(build_id)):
            return known  # a copy of it that nobody can open any more
        if _IN_MEMORY.match(path):
            return None
        lost = self._lost.get((build_id, inode, path))
        return lost or self._remember(self._lost, (build_id, inode, path), self._new(path))

    def hold(self, pid: int, start: int, end: int, path: str, build_id: bytes | None = None) -> None:
        """Open now what `find` will be asked for later, when the process may be gone; may be called by any thread."""
        deleted = path.endswith(_DELETED)
        path = path.removesuffix(_DELETED)
        if path == VDSO or _ANONYMOUS.match(path) or (build_id and (build_id, path) in self._by_build_id):
            return
        for place in _places(pid, start, end, path, deleted=deleted):
            if source := open_regular(place):
                self._held[pid, start, end, path] = (place, source)
                break
        while len(self._held) > MAX_HELD:
            self._held.popitem(last=False)[1][1].close()

    def _candidates(
        self, pid: int, start: int, end: int, path: str, *, deleted: bool
    ) -> Iterator[tuple[str, FileSource | None]]:
        held = self._held.pop((pid, start, end, path), None)
        if held:
            yield held
        for place in _places(pid, start, end, path, deleted=deleted):
            yield place, None

    def source(self, image: Image) -> Source | None:
        """The open file of an image, opened again if need be; None when it is gone."""
        if image.elf is None:
            return None
        source = image.elf.source
        if not isinstance(source, FileSource):
            return source
        if source.fd < 0 and not self._reopen(image, source):
            return None
        self._keep_open(image, source)
        return source

    def close(self) -> None:
        """Close all files."""
        for source in [*self._open.values(), *(source for _, source in self._held.values())]:
            source.close()
        self._open.clear()
        self._held.clear()

    def _take(
        self,
        source: FileSource,
        path: str,
        build_id: bytes | None,
        inode: tuple[int, int] | None,
        paths: tuple[str, ...],
    ) -> Image | None:
        """The image of an open file, or None, with the file closed, if it is not the one that was mapped."""
        known = self._by_file.get(source.identity)
        if known is not None and (not build_id or known.build_id == build_id):
            source.close()
            return known
        try:
            elf = Elf(source)
        except NotElf:
            elf = None
        if build_id is not None:
            right = elf is not None and elf.build_id == build_id
        else:  # device numbers of overlays and subvolumes differ from the mapping's, and then inodes may as well
            right = inode is None or source.identity[0] != inode[0] or source.identity[1] == inode[1]
        if not right:
            source.close()
            return None
        image = self._by_build_id.get((elf.build_id, path)) if elf and elf.build_id else None
        if image is None:
            image = self._new(path)
            image.elf = elf
            image.paths = paths
            if elf and elf.build_id:
                self._remember(self._by_build_id, (elf.build_id, path), image)
                self._remember(self._same_code, elf.build_id, image)
        self._remember(self._by_file, source.identity, image)
        if elf is not None and image.elf is elf:
            self._keep_open(image, source)
        else:
            source.close()
        return image

    def _new(self, path: str, *, pid: int = 0) -> Image:
        image = Image(self._next, path, pid=pid)
        self._next += 1
        return image

    def _remember(self, where: dict[_Key, Image], key: _Key, image: Image) -> Image:
        if len(where) >= _MAX_KNOWN:
            where.clear()
        where[key] = image
        return image

    def _keep_open(self, image: Image, source: FileSource) -> None:
        self._open[image.number] = source
        self._open.move_to_end(image.number)
        while len(self._open) > MAX_OPEN:
            _, oldest = self._open.popitem(last=False)
            oldest.close()

    def _reopen(self, image: Image, source: FileSource) -> bool:
        for path in image.paths:
            again = open_regular(path)
            if again is not None and again.identity == source.identity:
                source.fd = again.fd
                return True
            if again is not None:
                again.close()
        return False

    def _own_vdso(self) -> Image:
        """The vDSO, which is the same in every process of a kernel, read from this one."""
        if self._vdso is None:
            self._vdso = self._new(VDSO)
            try:
                self._vdso.elf = Elf(MemorySource(_own_vdso_bytes()))
            except (NotElf, OSError, ValueError):
                self._vdso.elf = None
        return self._vdso


def _places(pid: int, start: int, end: int, path: str, *, deleted: bool) -> tuple[str, ...]:
    """Where the file that a process has mapped may be found: in its own view of the files, by its mapping, in ours."""
    mapped = f"/proc/{pid}/map_files/{start:x}-{end:x}"
    return (mapped,) if deleted else (f"/proc/{pid}/root{path}", mapped, path)


def _own_vdso_bytes() -> bytes:
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        for line in maps:
            if line.rstrip().endswith(VDSO):
                start, end = (int(x, 16) for x in line.split(" ", 1)[0].split("-"))
                with open("/proc/self/mem", "rb", buffering=0) as memory:
                    memory.seek(start)
                    return memory.read(end - start)
    return b""
