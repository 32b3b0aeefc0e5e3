"""Where else the symbols of a file may be: in a separate debug file, or packed inside it.

Source: GDB manual, "Debugging Information in Separate Files" and "MiniDebugInfo".
"""

from __future__ import annotations

import lzma
import os
import zlib
from collections.abc import Iterator

from tracelab.recorder.elf import Elf, FileSource, MemorySource, NotElf, open_regular

DEBUG_ROOT = "/usr/lib/debug"
MAX_PACKED_BYTES = 64 << 20
MAX_CHECKED_BYTES = 1 << 30  #: of a debug file that only a checksum connects to its program


def debug_elf(elf: Elf, path: str, root: str = "") -> Elf | None:
    """The separate debug file of a program, which belongs to it by build id or else by checksum, or None.

    `path` is the program's, and `root` the folder that the process has as its root. The caller closes its source.
    """
    link = _debug_link(elf)
    for place in _places(elf, path, link[0] if link else "", root):
        source = open_regular(place)
        if source is None:
            continue
        try:
            found = Elf(source)
            same_id = elf.build_id is not None and found.build_id == elf.build_id
            if same_id or (elf.build_id is None and link and _checksum(source) == link[1]):
                return found
        except NotElf:
            pass
        source.close()
    return None


def packed_elf(elf: Elf) -> Elf | None:
    """The symbols that Fedora packs into `.gnu_debugdata`, or None."""
    packed = elf.section_bytes(".gnu_debugdata", MAX_PACKED_BYTES)
    if not packed:
        return None
    try:
        unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_PACKED_BYTES * 2)
        return Elf(MemorySource(unpacker.decompress(packed, MAX_PACKED_BYTES)))
    except (lzma.LZMAError, EOFError, NotElf):
        return None


def _places(elf: Elf, path: str, name: str, root: str) -> Iterator[str]:
    folder = os.path.dirname(path)
    for top in dict.fromkeys((root, "")):
        if elf.build_id and len(elf.build_id) > 1:
            text = elf.build_id.hex()
            yield f"{top}{DEBUG_ROOT}/.build-id/{text[:2]}/{text[2:]}.debug"
        if name:
            yield f"{top}{folder}/{name}"
            yield f"{top}{folder}/.debug/{name}"
            yield f"{top}{DEBUG_ROOT}{folder}/{name}"


def _debug_link(elf: Elf) -> tuple[str, int] | None:
    raw = elf.section_bytes(".gnu_debuglink", 4096)
    name, end, _ = raw.partition(b"\0")
    if not name or not end or b"/" in name or len(raw) < 8:
        return None
    return os.fsdecode(name), int.from_bytes(raw[-4:], "little")


def _checksum(source: FileSource) -> int:
    if source.size > MAX_CHECKED_BYTES:
        return -1
    crc = 0
    for at in range(0, source.size, 1 << 20):
        crc = zlib.crc32(source.read(at, 1 << 20), crc)
    return crc
