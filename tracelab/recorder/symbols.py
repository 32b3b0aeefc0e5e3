"""Names of kernel code, and of the eBPF programs in it, which come and go while a recording runs."""

from __future__ import annotations

import bisect
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tracelab.profile import Frame

KERNEL, BPF = "[kernel]", "[bpf]"
MAX_FUNCTION_BYTES = 1 << 20  #: what is further behind a symbol is not part of it
MAX_BPF_SYMBOLS = 1 << 16
ASSUMED_BPF_BYTES = (
    1 << 16
)  #: of a program that was loaded before, when no symbol follows it closer than that
_CODE = np.frombuffer(b"tTwW", np.uint8)
_ADDRESS, _KIND, _NAME = 0, 17, 19  #: where they stand in a line of /proc/kallsyms
_HEX = np.full(256, 255, np.uint8)
_HEX[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)


class _BpfSymbol(NamedTuple):
    start: int
    end: int
    since_ns: int
    name: str


class KernelSymbols:
    """Symbols of the kernel by address, and of BPF programs by address and time.

    Addresses are relative to `_text` in frames, so that they can be compared from boot to boot; those in BPF
    programs are relative to the program.
    """

    def __init__(self, text: bytes = b"") -> None:
        """Symbols from the text of /proc/kallsyms; none where it hides its addresses."""
        self._text = text
        self._start: npt.NDArray[np.uint64]
        self._start, self._line = _parse(text)
        self._bpf: list[_BpfSymbol] = []
        self.generation = 0  #: rises whenever an address may have got another meaning
        named = {name: self._address_of(name) for name in (b"_text", b"_stext", b"_etext")}
        first, last = named[b"_stext"] or named[b"_text"], named[b"_etext"]
        self.base = named[b"_text"] or first
        #: addresses in here mean the same all the time
        self.constant = range(first, last) if first < last else range(0)
        #: where the kernel is entered: the root of a kernel stack, but for kernel threads, is in here
        self.entry = range(self._address_of(b"__entry_text_start"), self._address_of(b"__entry_text_end"))
        self._take_bpf()

    @classmethod
    def running(cls) -> KernelSymbols:
        """Symbols of the running kernel; none where /proc/kallsyms cannot be read."""
        try:
            return cls(Path("/proc/kallsyms").read_bytes())
        except OSError:
            return cls()

    def __len__(self) -> int:
        return len(self._start)

    def bpf_symbol(self, time_ns: int, address: int, size: int, name: str) -> None:
        """The kernel gained a symbol, at CLOCK_MONOTONIC `time_ns`: mostly a BPF program that was loaded."""
        self.generation += 1
        if 0 < size <= MAX_FUNCTION_BYTES * 16:
            bisect.insort(self._bpf, _BpfSymbol(address, address + size, time_ns, name))
        if len(self._bpf) > MAX_BPF_SYMBOLS:
            oldest = min(self._bpf, key=lambda s: s.since_ns)
            self._bpf.remove(oldest)

    def steady(self, address: int) -> bool:
        """Whether an address means the same at all times, as far as is known by now."""
        return address in self.constant or len(self._programs_at(address)) <= 1

    def frame(self, time_ns: int, address: int) -> Frame:
        """The frame of an address in the kernel at a time, in domain kernel or bpf."""
        program = None if address in self.constant else self._bpf_at(time_ns, address)
        if program is not None:
            domain, module = ("bpf", BPF) if program.name.startswith("bpf") else ("kernel", KERNEL)
            return Frame(program.name, module, domain, offset=address - program.start)
        offset = address - self.base
        i = int(np.searchsorted(self._start, np.uint64(address), "right")) - 1
        if i < 0 or address - int(self._start[i]) > MAX_FUNCTION_BYTES:
            return Frame(
                f"{KERNEL}+{offset:#x}" if offset >= 0 else f"{KERNEL}+0x{address:x}", KERNEL, "kernel"
            )
        return Frame(self._name(i), KERNEL, "kernel", offset=offset)

    def _bpf_at(self, time_ns: int, address: int) -> _BpfSymbol | None:
        """The program that was loaded last before the time, or else the first that was loaded there."""
        programs = self._programs_at(address)
        before = [p for p in programs if p.since_ns <= time_ns]
        if before:
            return max(before, key=lambda p: p.since_ns)
        return min(programs, key=lambda p: p.since_ns, default=None)

    def _programs_at(self, address: int) -> list[_BpfSymbol]:
        """All programs that were ever loaded there."""
        i = bisect.bisect_right(self._bpf, address, key=lambda s: s.start)
        return [symbol for symbol in self._bpf[max(0, i - 64) : i] if symbol.end > address]

    def _name(self, i: int) -> str:
        line = int(self._line[i])
        end = self._text.find(b"\n", line)
        name, _, _ = self._text[line + _NAME : end if end >= 0 else None].partition(b"\t")
        return name.decode("utf-8", "replace")

    def _address_of(self, name: bytes) -> int:
        at = self._text.find(b" " + name + b"\n")
        start = self._text.rfind(b"\n", 0, at) + 1
        return int(self._text[start : start + 16], 16) if at >= 0 else 0

    def _take_bpf(self) -> None:
        """Programs that are loaded already; the next symbol tells where one ends at the latest."""
        at = self._text.find(b"\t[bpf]")
        while at >= 0:
            start = self._text.rfind(b"\n", 0, at) + 1
            address, name = int(self._text[start : start + 16], 16), self._text[start + _NAME : at].decode()
            i = int(np.searchsorted(self._start, np.uint64(address), "right"))
            gap = int(self._start[i]) - address if i < len(self._start) else ASSUMED_BPF_BYTES
            self.bpf_symbol(0, address, min(gap, ASSUMED_BPF_BYTES), name)
            at = self._text.find(b"\t[bpf]", at + 1)


def _parse(text: bytes) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Sorted addresses of functions, and where in the text the line of each begins."""
    data = np.frombuffer(text + b"\n" + bytes(_NAME), np.uint8)
    lines = np.concatenate([[0], np.flatnonzero(data[: len(text)] == ord("\n")) + 1])
    lines = lines[(data[lines + 16] == ord(" ")) & (data[lines + _KIND + 1] == ord(" "))]
    lines = lines[np.isin(data[lines + _KIND], _CODE)]
    digits = _HEX[data[lines[:, None] + np.arange(16)]]
    sound = (digits != 255).all(axis=1)
    lines, digits = lines[sound], digits[sound].astype(np.uint64)
    shifts = np.arange(60, -4, -4).astype(np.uint64)
    address = np.bitwise_or.reduce(digits << shifts, axis=1)
    lines, address = lines[address != 0], address[address != 0]
    address, first = np.unique(address, return_index=True)  # of aliases the first, as the kernel itself does
    return address, lines[first]
