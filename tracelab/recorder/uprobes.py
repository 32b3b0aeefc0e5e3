"""Attach programs to places in user space, by perf events: nothing is left in tracefs when the descriptors close."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import struct
from collections.abc import Sequence
from pathlib import Path

from tracelab.recorder import introspect
from tracelab.recorder.sites import Site

_DEVICE = Path("/sys/bus/event_source/devices/uprobe")
_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}.get(platform.machine(), 298)
_LINK_CREATE, _BPF_PERF_EVENT = 28, 41
_CLOSE_ON_EXEC = 8
_ATTR_BYTES = 128
_NONE = "(1ULL<<63)"
_libc = ctypes.CDLL(None, use_errno=True)

#: struct pt_regs of x86-64, in words
_REGISTERS = {
    **dict(zip("r15 r14 r13 r12 bp bx r11 r10 r9 r8 ax cx dx si di".split(), range(15), strict=True)),
    "ip": 16,
    "sp": 19,
}


class Uprobes:
    """Attachments of one recording, until closed; raises OSError when the kernel refuses one."""

    def __init__(self) -> None:
        self._fds: list[int] = []

    def attach(self, program: int, site: Site, cookie: int, *, on_return: bool = False) -> None:
        """Run a program in every process that comes by; it is told the cookie."""
        event = _open(site, on_return)
        self._fds.append(event)
        attr = struct.pack("<IIIIQ", program, event, _BPF_PERF_EVENT, 0, cookie)
        self._fds.append(introspect.bpf(_LINK_CREATE, attr)[0])

    def close(self) -> None:
        """Detach all."""
        while self._fds:
            os.close(self._fds.pop())


def why_not() -> str | None:
    """Why this kernel has no uprobes; None when it has."""
    return None if _DEVICE.is_dir() else "this kernel was built without uprobes"


def argument(sites: Sequence[Site], number: int) -> str:
    """C that gives argument `number`, counted from 0, of a USDT probe by its `site` and `ctx`; INT64_MIN for none.

    Operands are those of the x86-64 assembler, such as `-4@%edi`, `8@-16(%rbp)` and `4@$7`.
    """
    cases = [
        f"site=={n}?({_operand(site.arguments[number])})"
        for n, site in enumerate(sites)
        if number < len(site.arguments)
    ]
    return ":".join([*(c for c in cases), _NONE])


def _operand(text: str) -> str:
    size, _, where = text.partition("@")
    kind = f"{'s' if size.startswith('-') else 'u'}{8 * abs(int(size or 8))}"
    if constant := re.fullmatch(r"\$(-?\w+)", where):
        return f"(u64)({kind}){int(constant[1], 0)}LL"
    if register := re.fullmatch(r"%(\w+)", where):
        return f"(u64)({kind})ctx->regs[{_register(register[1])}]"
    memory = re.fullmatch(r"(-?\w*)\(%(\w+)(?:,%(\w+)(?:,(\d))?)?\)", where)
    if memory is None or memory[2] == "rip":
        return _NONE  # relative to a symbol: not told by the note alone
    address = f"ctx->regs[{_register(memory[2])}]+({int(memory[1] or '0', 0)}LL)"
    if memory[3]:
        address += f"+ctx->regs[{_register(memory[3])}]*{memory[4] or 1}"
    return f"({{{kind} v_=0;bpf_probe_read_user(&v_,sizeof(v_),(void*)({address}));(u64)v_;}})"


def _register(name: str) -> int:
    """Place of a register in pt_regs, by any of the names of its parts: rax, eax, ax, al, r10d."""
    bare = re.sub(r"^[re](?=[a-z]{2}$)", "", name)
    bare = re.sub(r"^(r\d+)[dwb]$", r"\1", bare)
    bare = {"al": "ax", "bl": "bx", "cl": "cx", "dl": "dx", "sil": "si", "dil": "di", "bpl": "bp"}.get(
        bare, bare
    )
    return _REGISTERS[bare]


def _open(site: Site, on_return: bool) -> int:
    path = ctypes.create_string_buffer(os.fsencode(site.binary))
    config = int(on_return) | site.semaphore << 32
    attr = bytearray(_ATTR_BYTES)
    kind = int((_DEVICE / "type").read_text())
    struct.pack_into("<IIQQ", attr, 0, kind, _ATTR_BYTES, config, 1)
    struct.pack_into("<QQ", attr, 56, ctypes.addressof(path), site.offset)
    block = (ctypes.c_char * len(attr)).from_buffer(attr)
    fd = _libc.syscall(_PERF_EVENT_OPEN, block, -1, 0, -1, _CLOSE_ON_EXEC)
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{site.binary} at {site.offset:#x}: {os.strerror(number)}")
    return int(fd)
