"""What is loaded in the kernel: every eBPF program, map and link, by plain bpf(2) calls.

Needs no BCC. Layouts: include/uapi/linux/bpf.h; members that an older kernel lacks read as zero.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SYSCALL = {"x86_64": 321, "aarch64": 280}.get(platform.machine(), 321)
_PROG_LOAD, _PROG_TEST_RUN, _INFO_BY_FD, _ENABLE_STATS = 5, 10, 15, 32
_NEXT_ID = {"prog": 11, "map": 12, "link": 31}
_FD_BY_ID = {"prog": 13, "map": 14, "link": 30}
_RAW_TRACEPOINT = 17
PROG_TYPES = (
    "unspec socket_filter kprobe sched_cls sched_act tracepoint xdp perf_event cgroup_skb cgroup_sock lwt_in "
    "lwt_out lwt_xmit sock_ops sk_skb cgroup_device sk_msg raw_tracepoint cgroup_sock_addr lwt_seg6local "
    "lirc_mode2 sk_reuseport flow_dissector cgroup_sysctl raw_tracepoint_writable cgroup_sockopt tracing "
    "struct_ops ext lsm sk_lookup syscall netfilter"
).split()
MAP_TYPES = (
    "unspec hash array prog_array perf_event_array percpu_hash percpu_array stack_trace cgroup_array lru_hash "
    "lru_percpu_hash lpm_trie array_of_maps hash_of_maps devmap sockmap cpumap xskmap sockhash cgroup_storage "
    "reuseport_sockarray percpu_cgroup_storage queue stack sk_storage devmap_hash struct_ops ringbuf "
    "inode_storage task_storage bloom_filter user_ringbuf cgrp_storage arena"
).split()
RINGBUF = "ringbuf"
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Program:
    """One loaded program."""

    prog_id: int
    type: str
    tag: str
    name: str
    load_time_ns: int  #: CLOCK_BOOTTIME
    xlated_bytes: int
    jited_bytes: int
    verified_insns: int
    map_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Map:
    """One loaded map."""

    map_id: int
    type: str
    name: str
    key_bytes: int
    value_bytes: int
    max_entries: int
    flags: int


@dataclass(frozen=True, slots=True)
class ProgramStats:
    """What a program ran so far, counted only while statistics were enabled."""

    prog_id: int
    run_cnt: int
    run_time_ns: int
    misses: int


def bpf(command: int, attr: bytes, size: int = 160) -> tuple[int, bytes]:
    """Call bpf(2); returns its result and the attribute block afterwards, raises OSError."""
    block = ctypes.create_string_buffer(attr, max(size, len(attr)))
    result = _libc.syscall(_SYSCALL, command, block, len(block))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result, block.raw


def ids(kind: str) -> Iterator[int]:
    """The ids of every loaded "prog", "map" or "link"."""
    current = 0
    while True:
        try:
            _, block = bpf(_NEXT_ID[kind], struct.pack("<II", current, 0))
        except OSError as error:
            if error.errno == errno.ENOENT:
                return
            raise
        current = struct.unpack_from("<I", block, 4)[0]
        yield current


@contextlib.contextmanager
def opened(kind: str, number: int) -> Iterator[int]:
    """A descriptor of a loaded object, held for as short as possible: it keeps the object alive.

    Raises FileNotFoundError when it is gone.
    """
    fd, _ = bpf(_FD_BY_ID[kind], struct.pack("<I", number))
    try:
        yield fd
    finally:
        os.close(fd)


def map_id(fd: int) -> int:
    """The kernel's id of the map behind a descriptor."""
    return int(struct.unpack_from("<I", _info(fd, 88), 4)[0])


def program(fd: int) -> Program:
    """Describe the program behind a descriptor."""
    info = _info(fd, 232)
    kind, number = struct.unpack_from("<II", info)
    jited, xlated = struct.unpack_from("<II", info, 16)
    load_time, _, map_count = struct.unpack_from("<QII", info, 40)
    maps = (ctypes.c_uint32 * map_count)()
    request = bytearray(232)
    struct.pack_into("<IQ", request, 52, map_count, ctypes.addressof(maps))
    if map_count:
        _info(fd, 232, bytes(request))
    return Program(
        prog_id=number,
        type=_named(PROG_TYPES, kind),
        tag=info[8:16].hex(),
        name=_text(info[64:80]),
        load_time_ns=load_time,
        xlated_bytes=xlated,
        jited_bytes=jited,
        verified_insns=struct.unpack_from("<I", info, 216)[0],
        map_ids=tuple(maps),
    )


def program_stats(fd: int) -> ProgramStats:
    """Read the run statistics of the program behind a descriptor."""
    info = _info(fd, 232)
    return ProgramStats(struct.unpack_from("<I", info, 4)[0], *_stats(info))


def bpf_map(fd: int) -> Map:
    """Describe the map behind a descriptor."""
    info = _info(fd, 88)
    kind, number, key, value, entries, flags = struct.unpack_from("<6I", info)
    return Map(number, _named(MAP_TYPES, kind), _text(info[24:40]), key, value, entries, flags)


def memlock_bytes(fd: int) -> int | None:
    """Memory charged for the object behind a descriptor; an estimate before Linux 6.4."""
    found = re.search(r"^memlock:\s*(\d+)", Path(f"/proc/self/fdinfo/{fd}").read_text(), re.M)
    return int(found[1]) if found else None


def attachments() -> dict[int, str]:
    """Where programs are attached, by program id, as far as links and perf events tell."""
    found: dict[int, str] = {}
    for number in ids("link"):
        with contextlib.suppress(OSError), opened("link", number) as fd:
            name = ctypes.create_string_buffer(128)
            request = bytearray(64)
            struct.pack_into("<QI", request, 16, ctypes.addressof(name), len(name))
            try:
                info = _info(fd, 64, bytes(request))
            except OSError:
                info = _info(fd, 64)
            kind, _, program_id = struct.unpack_from("<III", info)
            text = _text(name.raw) if kind == 1 else ""
            found[program_id] = f"{_LINK_TYPES.get(kind, f'link {kind}')} {text}".strip()
    return found


_LINK_TYPES = {
    1: "raw_tracepoint",
    2: "tracing",
    3: "cgroup",
    4: "iter",
    5: "netns",
    6: "xdp",
    7: "perf_event",
    8: "kprobe_multi",
    9: "struct_ops",
    10: "netfilter",
    11: "tcx",
    12: "uprobe_multi",
}


def holders() -> dict[int, tuple[int, ...]]:
    """The processes that hold a descriptor of a program or of its link, by program id."""
    found: dict[int, set[int]] = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            for fd in os.scandir(process / "fd"):
                with contextlib.suppress(OSError):
                    if not os.readlink(fd.path).startswith("anon_inode:bpf"):
                        continue
                    text = (process / "fdinfo" / fd.name).read_text()
                    if number := re.search(r"^prog_id:\s*(\d+)", text, re.M):
                        found.setdefault(int(number[1]), set()).add(int(process.name))
    return {number: tuple(sorted(pids)) for number, pids in found.items()}


def enable_stats() -> int:
    """Have the kernel keep run statistics while the returned descriptor is open; raises OSError before 5.8."""
    return bpf(_ENABLE_STATS, struct.pack("<I", 0))[0]


def load_empty_program() -> int:
    """Load a program that does nothing (`return 0`); returns its descriptor, raises OSError."""
    instructions = ctypes.create_string_buffer(
        struct.pack("<BBhi", 0xB7, 0, 0, 0) + struct.pack("<BBhi", 0x95, 0, 0, 0), 16
    )
    licence = ctypes.create_string_buffer(b"GPL")
    attr = struct.pack(
        "<IIQQIIQII16s",
        _RAW_TRACEPOINT,
        2,
        ctypes.addressof(instructions),
        ctypes.addressof(licence),
        0,
        0,
        0,
        0,
        0,
        b"tracelab_floor",
    )
    return bpf(_PROG_LOAD, attr)[0]


def stats_floor_ns(runs: int = 4000) -> float:
    """What run_time_ns / run_cnt says of a program that does nothing, in ns: the statistics' own cost.

    Statistics must be enabled. Raises OSError where the kernel cannot test-run (before 5.10).
    """
    fd = load_empty_program()
    try:
        request = struct.pack("<I", fd)
        for _ in range(runs):
            bpf(_PROG_TEST_RUN, request, 80)
        stats = program_stats(fd)
    finally:
        os.close(fd)
    return stats.run_time_ns / stats.run_cnt if stats.run_cnt else 0.0


def _stats(info: bytes) -> tuple[int, int, int]:
    run_time, run_cnt, misses = struct.unpack_from("<QQQ", info, 192)
    return run_cnt, run_time, misses


def _info(fd: int, size: int, request: bytes = b"") -> bytes:
    info = ctypes.create_string_buffer(request, size)
    bpf(_INFO_BY_FD, struct.pack("<IIQ", fd, size, ctypes.addressof(info)))
    return info.raw


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace")


def _named(names: list[str], number: int) -> str:
    return names[number] if number < len(names) else f"type {number}"
