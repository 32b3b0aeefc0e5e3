"""Places in programs and libraries to put probes: functions by name, and USDT probes.

    --uprobe /usr/bin/python3:PyObject_Call   --uprobe c:malloc   --usdt python3:python:function__entry

USDT notes: https://sourceware.org/systemtap/wiki/UserSpaceProbeImplementation.
"""

from __future__ import annotations

import contextlib
import fnmatch
import re
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tracelab.errors import UsageError
from tracelab.recorder.debugfiles import debug_elf
from tracelab.recorder.elf import FORGED, PT_LOAD, Elf, NotElf, open_regular

MAX_SITES = 64  #: of one recording
_MAX_BYTES = 256 << 20
_EXECUTABLE = 1  # PF_X
_SYMBOL = np.dtype(
    [("name", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2"), ("value", "<u8"), ("size", "<u8")]
)
_FUNCTIONS = (2, 10)  #: STT_FUNC, STT_GNU_IFUNC
_GO = (".go.buildinfo", ".gopclntab")


@dataclass(frozen=True, slots=True)
class Site:
    """One place that a probe can be put."""

    binary: str
    name: str  #: what its events are called
    offset: int  #: in the file, bytes
    returns: bool = False  #: whether the return can be probed, too, so that there is a duration
    semaphore: int = 0  #: offset in the file of a USDT probe's counter of those who listen, or 0
    arguments: tuple[str, ...] = ()  #: of a USDT probe, as its note says


def function_sites(text: str) -> list[Site]:
    """The functions that `BINARY:FUNCTION` asks for; FUNCTION may be a pattern, `0xOFFSET` or `FUNCTION+0xOFFSET`.

    The return of a function of Go is never probed: its stacks move, and the program would crash. Raises UsageError.
    """
    name, _, wanted = text.rpartition(":")
    if not name or not wanted:
        raise UsageError(f"--uprobe {text}: say BINARY:FUNCTION, such as /usr/bin/bash:readline or c:malloc")
    path = find_binary(name, f"--uprobe {text}")
    with _opened(path) as elf:
        if re.fullmatch(r"0x[0-9a-fA-F]+", wanted):
            return [Site(path, f"{Path(path).name}+{wanted}", int(wanted, 16))]
        base, _, plus = wanted.partition("+")
        extra = int(plus, 0) if plus else 0
        functions = _functions(elf, path)
        names = [base] if base in functions else sorted(fnmatch.filter(functions, base))
        is_go = any(elf.section(section) for section in _GO)
        found: dict[int, Site] = {}
        for function in names:
            offset = _file_offset(elf, functions[function] + extra)
            if offset is not None:
                found.setdefault(
                    offset,
                    Site(path, function + (f"+{plus}" if plus else ""), offset, not plus and not is_go),
                )
    if not found:
        near = _near(base, functions)
        raise UsageError(f"--uprobe {text}: {path} has no function {wanted!r} that can be probed{near}")
    return list(found.values())


def usdt_sites(text: str) -> list[Site]:
    """The places of the USDT probe that `BINARY:PROVIDER:NAME` asks for; NAME may be a pattern. Raises UsageError."""
    words = text.rsplit(":", 2)
    if len(words) != 3 or not all(words):
        raise UsageError(f"--usdt {text}: say BINARY:PROVIDER:NAME, such as python3:python:gc__start")
    binary, provider, wanted = words
    path = find_binary(binary, f"--usdt {text}")
    with _opened(path) as elf:
        everything = list(_notes(elf))
        found = [
            Site(path, f"{p}:{n}", at, False, semaphore, arguments)
            for p, n, at, semaphore, arguments in everything
            if p == provider and fnmatch.fnmatchcase(n, wanted)
        ]
    if not found:
        there = ", ".join(sorted({f"{p}:{n}" for p, n, *_ in everything})[:8]) or "none"
        raise UsageError(f"--usdt {text}: {path} has no such probe; it has {there}")
    return found


def find_binary(name: str, option: str) -> str:
    """Path of a program, or of a library by its name without `lib` and `.so`; raises UsageError."""
    if "/" in name:
        if Path(name).is_file():
            return str(Path(name).resolve())
        raise UsageError(f"{option}: there is no file {name}")
    if found := shutil.which(name):
        return str(Path(found).resolve())
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        known = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, timeout=10).stdout
        pattern = rf"^\s*(?:lib)?{re.escape(name)}(?:[-.][^ ]*)? \([^)]*x86-64[^)]*\) => (.*)$"
        if match := re.search(pattern, known, re.M):
            return str(Path(match[1]).resolve())
    raise UsageError(f"{option}: {name} is neither a program on PATH nor a library; give its whole path")


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Elf]:
    source = open_regular(path)
    if source is None:
        raise UsageError(f"{path} cannot be read")
    try:
        yield Elf(source)
    except NotElf as error:
        raise UsageError(f"{path}: {error}") from error
    except FORGED as error:
        raise UsageError(f"{path} is damaged: {error}") from error
    finally:
        source.close()


def _functions(elf: Elf, path: str) -> dict[str, int]:
    """Addresses of functions by name, those of a separate debug file included."""
    found = _symbols(elf)
    if not elf.section(".symtab") and (debug := debug_elf(elf, path)) is not None:
        try:
            found = {**_symbols(debug), **found}
        finally:
            debug.source.close()  # type: ignore[attr-defined]
    return found


def _symbols(elf: Elf) -> dict[str, int]:
    found: dict[str, int] = {}
    for table, strings in ((".dynsym", ".dynstr"), (".symtab", ".strtab")):
        raw, text = elf.section_bytes(table, _MAX_BYTES), elf.section_bytes(strings, _MAX_BYTES)
        symbols = np.frombuffer(raw[: len(raw) // _SYMBOL.itemsize * _SYMBOL.itemsize], _SYMBOL)
        wanted = symbols[np.isin(symbols["info"] & 15, _FUNCTIONS) & (symbols["section"] != 0)]
        for at, value in zip(wanted["name"].tolist(), wanted["value"].tolist(), strict=True):
            end = text.find(b"\0", at)
            name = text[at:end].decode("utf-8", "replace")
            found[name] = value
            found.setdefault(name.partition("@")[0], value)
    return found


def _file_offset(elf: Elf, address: int) -> int | None:
    """Where in the file the code of an address is."""
    for s in elf.segments:
        if s.kind == PT_LOAD and s.flags & _EXECUTABLE and s.vaddr <= address < s.vaddr + s.file_size:
            return address - s.vaddr + s.offset
    return None


def _notes(elf: Elf) -> Iterator[tuple[str, str, int, int, tuple[str, ...]]]:
    """Provider, name, offset, offset of the semaphore, and arguments of each USDT probe."""
    notes = elf.section_bytes(".note.stapsdt", _MAX_BYTES)
    base = elf.section(".stapsdt.base")
    at = 0
    while at + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from("<III", notes, at)
        at += 12 + -(-name_size // 4) * 4
        body = notes[at : at + size]
        at += -(-size // 4) * 4
        if kind != 3 or len(body) < 24:
            continue
        address, linked_base, semaphore = struct.unpack_from("<QQQ", body)
        moved = base.vaddr - linked_base if base else 0  # prelink moves the one and forgets the note
        provider, name, arguments = (part.decode("utf-8", "replace") for part in body[24:].split(b"\0")[:3])
        offset = _file_offset(elf, address + moved)
        if offset is not None:
            yield (
                provider,
                name,
                offset,
                _data_offset(elf, semaphore + moved) if semaphore else 0,
                tuple(arguments.split()),
            )


def _data_offset(elf: Elf, address: int) -> int:
    loads = (s for s in elf.segments if s.kind == PT_LOAD and s.vaddr <= address < s.vaddr + s.memory_size)
    return next((address - s.vaddr + s.offset for s in loads), 0)


def _near(name: str, functions: dict[str, int]) -> str:
    import difflib

    near = difflib.get_close_matches(name, functions, 3)
    return f"; did you mean {' or '.join(near)}?" if near else ""
