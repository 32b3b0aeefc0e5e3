"""The parts of an ELF file that unwinding and symbols need, read with bounds and never mapped.

The file belongs to a traced process, which may have forged it, or may cut it short at any moment: reading a
mapping of it would then be SIGBUS. So it is read piece by piece with pread, and every number in it is checked
before it is used. Layout: System V ABI, chapters 4 and 5.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from tracelab.recorder.symtab import without_aliases

PT_LOAD, PT_NOTE, PT_GNU_EH_FRAME = 1, 4, 0x6474E550
SHT_SYMTAB, SHT_NOBITS, SHT_DYNSYM = 2, 8, 11
SHF_COMPRESSED = 1 << 11
EXECUTABLE = 1  #: PF_X
MACHINES = {62: "x86_64", 183: "aarch64"}
MAX_DEBUG_BYTES = 128 << 20  #: more debug information than this is left out: reading it takes seconds
MAX_SYMBOL_BYTES = 256 << 20
MAX_COMPRESSION = 64  #: a compressed section that claims to grow more is not believed
_MAX_NUMBER = 1 << 60  #: no address, offset or size is larger
_HEADERS_BYTES = 8 << 20
_NOTE_BYTES = 64 << 10
_NT_GNU_BUILD_ID = 3
_DEBUG = {
    f".debug_{name}"
    for name in "abbrev addr aranges info line line_str ranges rnglists str str_offsets types".split()
}


#: What a forged file may still lead to where no check has foreseen it; it must not end a recording.
FORGED = (ArithmeticError, LookupError, ValueError, MemoryError, struct.error)


class NotElf(ValueError):
    """The bytes are not a 64-bit little-endian ELF file that can be believed."""


class Source(Protocol):
    """Bytes that can be read at an offset."""

    size: int

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset`; fewer where the source ends."""


class MemorySource:
    """Bytes in memory, such as the vDSO."""

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self._data = data

    def read(self, offset: int, size: int) -> bytes:
        """As Source.read."""
        return self._data[offset : offset + size] if offset >= 0 and size > 0 else b""


class FileSource:
    """An open regular file; `identity` tells whether another path leads to the same content."""

    def __init__(self, fd: int, status: os.stat_result) -> None:
        self.fd = fd
        self.size = status.st_size
        self.identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        self.changed_ns = status.st_ctime_ns

    def read(self, offset: int, size: int) -> bytes:
        """As Source.read; empty when the file was closed or cannot be read any more."""
        if self.fd < 0 or offset < 0 or size <= 0:
            return b""
        try:
            return os.pread(self.fd, min(size, max(0, self.size - offset)), offset)
        except (OSError, OverflowError):
            return b""

    def close(self) -> None:
        """Give the descriptor back; a second time does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


def open_regular(path: str) -> FileSource | None:
    """The regular file at a path, or None.

    It is opened by name only (O_PATH) until it is known to be regular: opening a FIFO would wait, and opening
    a device can do anything.
    """
    try:
        by_name = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        status = os.fstat(by_name)
        if not stat.S_ISREG(status.st_mode):
            return None
        fd = os.open(f"/proc/self/fd/{by_name}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    finally:
        os.close(by_name)
    return FileSource(fd, status)


class Segment(NamedTuple):
    """A program header."""

    kind: int
    flags: int
    offset: int
    vaddr: int
    file_size: int
    memory_size: int


class Section(NamedTuple):
    """A section header."""

    name: str
    kind: int
    flags: int
    vaddr: int
    offset: int
    size: int


class Elf:
    """Headers of one file; raises NotElf for what cannot be one."""

    def __init__(self, source: Source) -> None:
        self.source = source
        head = source.read(0, 64)
        if len(head) < 64 or head[:4] != b"\x7fELF" or head[4:6] != b"\x02\x01":
            raise NotElf("not a 64-bit little-endian ELF file")
        (
            self.type,
            self.machine,
            _,
            entry,
            phoff,
            self._shoff,
            _,
            _,
            phentsize,
            phnum,
            shentsize,
            shnum,
            shstrndx,
        ) = struct.unpack_from("<HHIQQQIHHHHHH", head, 16)
        if phentsize != 56 or not phnum:
            raise NotElf("no program headers")
        self._head = head
        self._raw_segments = source.read(phoff, phnum * 56)
        self.segments = tuple(_segments(self._raw_segments))
        loads = [s for s in self.segments if s.kind == PT_LOAD]
        if not loads or any(max(s[2:]) >= _MAX_NUMBER for s in self.segments):
            raise NotElf("nothing to load, or not anywhere that can be")
        self.load_address = loads[0].vaddr
        self._loads = sorted(loads, key=lambda s: not s.flags & EXECUTABLE)
        self.entry = entry - self.load_address  #: where a program begins, relative to the image base
        self._shnum = shnum if shentsize == 64 else 0
        self._shstrndx = shstrndx
        self._sections: tuple[Section, ...] | None = None
        self.build_id = self._build_id()

    def relative_to_offset(self, file_offset: int) -> int | None:
        """Address, relative to the image base, of what a mapping of `file_offset` begins with.

        None when no segment has it. Executable segments come first: linkers let segments share a page.
        """
        page = 4095
        for s in self._loads:
            if s.offset & ~page <= file_offset < s.offset + max(s.file_size, 1):
                return file_offset - s.offset + s.vaddr - self.load_address
        return None

    @property
    def sections(self) -> tuple[Section, ...]:
        """All sections; none where the file has no section headers."""
        if self._sections is None:
            self._sections = tuple(self._read_sections())
        return self._sections

    def section(self, name: str) -> Section | None:
        """The first section of a name."""
        return next((s for s in self.sections if s.name == name), None)

    def section_bytes(self, name: str, limit: int) -> bytes:
        """Content of a section, or nothing when there is no such section, or more of it than `limit`."""
        s = self.section(name)
        if s is None or s.kind == SHT_NOBITS or s.size > limit or s.flags & SHF_COMPRESSED:
            return b""
        return self.source.read(s.offset, s.size)

    def at_vaddr(self, vaddr: int, size: int) -> bytes:
        """Up to `size` bytes of the file that are loaded at an address."""
        for s in self.segments:
            if s.kind == PT_LOAD and s.vaddr <= vaddr < s.vaddr + s.file_size:
                skip = vaddr - s.vaddr
                return self.source.read(s.offset + skip, min(size, s.file_size - skip))
        return b""

    def symbols_only(self, max_debug_bytes: int | None = None) -> bytes:
        """A small ELF file of the same addresses with the symbols and debug information alone.

        What `strip --only-keep-debug` makes, and less: loaded bytes stay behind, and so do sections whose sizes
        cannot be believed, and debug information above `max_debug_bytes` (MAX_DEBUG_BYTES). Where there is no symbol
        table, the one for the dynamic linker takes its place. Empty when there is nothing in it.
        """
        kept = self._kept_sections(MAX_DEBUG_BYTES if max_debug_bytes is None else max_debug_bytes)
        if not kept:
            return b""
        body = bytearray(64 + len(self._raw_segments))
        body[64:] = _loads_only(self._raw_segments)
        table = bytearray(self.source.read(self._shoff, self._shnum * 64))
        described = any(self.sections[i].name == ".debug_info" for i in kept)
        only_dynamic = not any(self.sections[i].kind == SHT_SYMTAB for i in kept)
        for i, s in enumerate(self.sections):
            if i not in kept:
                struct.pack_into("<I", table, i * 64 + 4, SHT_NOBITS if s.kind else 0)
                continue
            body.extend(bytes(-len(body) % 16))
            struct.pack_into("<Q", table, i * 64 + 24, len(body))
            if s.kind == SHT_DYNSYM and only_dynamic:
                struct.pack_into("<I", table, i * 64 + 4, SHT_SYMTAB)
            content = self.source.read(s.offset, s.size)
            if s.kind in (SHT_SYMTAB, SHT_DYNSYM):
                content = without_aliases(content, self._strings_of(i), described=described)
            body.extend(content + bytes(s.size - len(content)))
        body.extend(bytes(-len(body) % 16))
        body[:64] = self._head
        struct.pack_into("<QQ", body, 32, 64, len(body))
        return bytes(body + table)

    def symbols_size(self) -> int:
        """Bytes of what `symbols_only` would keep, unpacked."""
        return sum(self._believed_size(self.sections[i]) for i in self._kept_sections(MAX_DEBUG_BYTES))

    def _kept_sections(self, max_debug_bytes: int) -> set[int]:
        sizes = {i: self._believed_size(s) for i, s in enumerate(self.sections)}
        symbols = {i for i, s in enumerate(self.sections) if s.kind in (SHT_SYMTAB, SHT_DYNSYM)}
        debug = {i for i, s in enumerate(self.sections) if s.name in _DEBUG and s.kind != SHT_NOBITS}
        if sum(sizes[i] for i in debug) > max_debug_bytes:
            debug = set()
        strings = {self._link(i) for i in symbols} | {self._shstrndx}
        kept = symbols | debug | {i for i in strings if i < len(self.sections)}
        if not symbols | debug or sum(sizes[i] for i in kept - debug) > MAX_SYMBOL_BYTES:
            return set()
        return kept

    def _believed_size(self, section: Section) -> int:
        """Size in memory; beyond every limit when the file does not hold that much, or compresses too well."""
        if section.kind == SHT_NOBITS:
            return 0
        if section.offset + section.size > self.source.size:
            return 1 << 62
        if not section.flags & SHF_COMPRESSED:
            return section.size
        head = self.source.read(section.offset, 24)
        size: int = struct.unpack_from("<IIQ", head)[2] if len(head) == 24 else 1 << 62
        return size if size <= MAX_COMPRESSION * section.size else 1 << 62

    def _strings_of(self, symbols: int) -> bytes:
        link = self._link(symbols)
        strings = self.sections[link] if link < len(self.sections) else None
        return self.source.read(strings.offset, min(strings.size, MAX_SYMBOL_BYTES)) if strings else b""

    def _link(self, section: int) -> int:
        raw = self.source.read(self._shoff + section * 64 + 40, 4)
        return int.from_bytes(raw, "little")

    def _read_sections(self) -> Iterator[Section]:
        raw = self.source.read(self._shoff, self._shnum * 64)
        headers = [struct.unpack_from("<IIQQQQ", raw, i * 64) for i in range(len(raw) // 64)]
        names = b""
        if self._shstrndx < len(headers):
            _, _, _, _, offset, size = headers[self._shstrndx]
            names = self.source.read(offset, min(size, _HEADERS_BYTES))
        for name, kind, flags, vaddr, offset, size in headers:
            text = names[name : name + 64].split(b"\0", 1)[0].decode("latin-1")
            if max(vaddr, offset, size) >= _MAX_NUMBER:
                kind, vaddr, offset, size = SHT_NOBITS, 0, 0, 0
            yield Section(text, kind, flags, vaddr, offset, size)

    def _build_id(self) -> bytes | None:
        for s in self.segments:
            if s.kind == PT_NOTE:
                found = _build_id_note(self.source.read(s.offset, min(s.file_size, _NOTE_BYTES)))
                if found:
                    return found
        return None


def _segments(raw: bytes) -> Iterator[Segment]:
    for i in range(len(raw) // 56):
        kind, flags, offset, vaddr, _, file_size, memory_size = struct.unpack_from("<IIQQQQQ", raw, i * 56)
        yield Segment(kind, flags, offset, vaddr, file_size, memory_size)


def _loads_only(raw_segments: bytes) -> bytes:
    """Program headers of which those that point to bytes left behind mean nothing any more."""
    raw = bytearray(raw_segments)
    for i in range(len(raw) // 56):
        if struct.unpack_from("<I", raw, i * 56)[0] != PT_LOAD:
            struct.pack_into("<I", raw, i * 56, 0)
    return bytes(raw)


def _build_id_note(notes: bytes) -> bytes | None:
    at = 0
    while at + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from("<III", notes, at)
        name = at + 12
        content = name + (name_size + 3 & ~3)
        if kind == _NT_GNU_BUILD_ID and notes[name : name + 4] == b"GNU\0" and 0 < size <= 64:
            return notes[content : content + size]
        at = content + (size + 3 & ~3)
    return None
