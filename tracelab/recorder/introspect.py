"""What is loaded in the kernel: every eBPF program and map, by plain bpf(2) calls.

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

_SYSCALL = {"x86_64": 321, "aarch64": 280}.get(platform.machine(), 321)
_PROG_LOAD, _PROG_TEST_RUN, _INFO_BY_FD, _ENABLE_STATS = 5, 10, 15, 32
_NEXT_ID = {"prog": 11, "map": 12, "link": 31}
_FD_BY_ID = {"prog": 13, "map": 14, "link": 30}
_READ_ONLY = 1 << 3  # BPF_F_RDONLY
_RAW_TRACEPOINT = 17
_FDINFO_BYTES = 4096
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


def bpf_errno(command: int, block: ctypes.Array[ctypes.c_char]) -> int:
    """Call bpf(2) on an attribute block that is kept, for loops; the number of its error, or 0."""
    return 0 if _libc.syscall(_SYSCALL, command, block, len(block)) >= 0 else ctypes.get_errno()


def ids(kind: str) -> Iterator[int]:
    """The ids of every loaded "prog", "map" or "link"."""
    block = ctypes.create_string_buffer(12)  # start_id, next_id, open_flags
    numbers = (ctypes.c_uint32 * 3).from_buffer(block)
    while True:
        error = bpf_errno(_NEXT_ID[kind], block)
        if error == errno.ENOENT:
            return
        if error:
            raise OSError(error, os.strerror(error))
        numbers[0] = numbers[1]
        yield numbers[1]


@contextlib.contextmanager
def opened(kind: str, number: int, *, read_only: bool = False) -> Iterator[int]:
    """A descriptor of a loaded object, held for as short as possible: it keeps the object alive.

    Through one that is `read_only` a map cannot be changed, nor mapped. Raises FileNotFoundError when it is gone.
    """
    fd, _ = bpf(_FD_BY_ID[kind], struct.pack("<III", number, 0, _READ_ONLY * read_only))
    try:
        yield fd
    finally:
        os.close(fd)


def map_id(fd: int) -> int:
    """The kernel's id of the map behind a descriptor."""
    return int(struct.unpack_from("<I", object_info(fd, 88), 4)[0])


def program(fd: int) -> Program:
    """Describe the program behind a descriptor."""
    info = object_info(fd, 232)
    kind, number = struct.unpack_from("<II", info)
    jited, xlated = struct.unpack_from("<II", info, 16)
    load_time, _, map_count = struct.unpack_from("<QII", info, 40)
    maps = (ctypes.c_uint32 * map_count)()
    request = bytearray(232)
    struct.pack_into("<IQ", request, 52, map_count, ctypes.addressof(maps))
    if map_count:
        object_info(fd, 232, bytes(request))
    return Program(
        prog_id=number,
        type=_named(PROG_TYPES, kind),
        tag=info[8:16].hex(),
        name=text(info[64:80]),
        load_time_ns=load_time,
        xlated_bytes=xlated,
        jited_bytes=jited,
        verified_insns=struct.unpack_from("<I", info, 216)[0],
        map_ids=tuple(maps),
    )


def translated(fd: int) -> bytes:
    """The translated instructions of the program behind a descriptor; empty when the kernel does not show them."""
    size = struct.unpack_from("<I", object_info(fd, 232), 20)[0]
    code = ctypes.create_string_buffer(max(1, size))
    request = bytearray(232)
    struct.pack_into("<I", request, 20, size)
    struct.pack_into("<Q", request, 32, ctypes.addressof(code))
    info = object_info(fd, 232, bytes(request))
    shown, pointer = struct.unpack_from("<I", info, 20)[0], struct.unpack_from("<Q", info, 32)[0]
    return code.raw[: min(shown, size)] if pointer else b""


def program_stats(fd: int) -> ProgramStats:
    """Read the run statistics of the program behind a descriptor."""
    info = object_info(fd, 232)
    run_time, run_cnt, misses = struct.unpack_from("<QQQ", info, 192)
    return ProgramStats(struct.unpack_from("<I", info, 4)[0], run_cnt, run_time, misses)


def bpf_map(fd: int) -> Map:
    """Describe the map behind a descriptor."""
    info = object_info(fd, 88)
    kind, number, key, value, entries, flags = struct.unpack_from("<6I", info)
    return Map(number, _named(MAP_TYPES, kind), text(info[24:40]), key, value, entries, flags)


def memlock_bytes(fd: int) -> int | None:
    """Memory charged for the object behind a descriptor; an estimate before Linux 6.4."""
    file = os.open(f"/proc/self/fdinfo/{fd}", os.O_RDONLY)
    try:
        found = re.search(rb"^memlock:\s*(\d+)", os.read(file, _FDINFO_BYTES), re.M)
    finally:
        os.close(file)
    return int(found[1]) if found else None


def enable_stats() -> int:
    """Have the kernel keep run statistics while the returned descriptor is open; raises OSError before 5.8."""
    return bpf(_ENABLE_STATS, struct.pack("<I", 0))[0]


def load(kind: int, name: bytes, code: bytes, attach_type: int = 0, attach_btf_id: int = 0) -> int:
    """Load a program of instructions; returns its descriptor, raises OSError."""
    instructions = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"GPL")
    attr = bytearray(112)
    pointers = (ctypes.addressof(instructions), ctypes.addressof(licence))
    struct.pack_into("<IIQQ", attr, 0, kind, len(code) // 8, *pointers)
    struct.pack_into("<16s", attr, 48, name)
    struct.pack_into("<I", attr, 68, attach_type)
    struct.pack_into("<I", attr, 108, attach_btf_id)
    return bpf(_PROG_LOAD, bytes(attr))[0]


def load_empty_program() -> int:
    """Load a program that does nothing (`return 0`); returns its descriptor, raises OSError."""
    nothing = struct.pack("<BBhi", 0xB7, 0, 0, 0) + struct.pack("<BBhi", 0x95, 0, 0, 0)
    return load(_RAW_TRACEPOINT, b"tracelab_floor", nothing)


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


def object_info(fd: int, size: int, request: bytes = b"") -> bytes:
    """What the kernel tells of an object, as bpf_prog_info, bpf_map_info or bpf_link_info; raises OSError."""
    info = ctypes.create_string_buffer(request, size)
    bpf(_INFO_BY_FD, struct.pack("<IIQ", fd, size, ctypes.addressof(info)))
    return info.raw


def text(raw: bytes) -> str:
    """A text that ends at its first NUL."""
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace")


def _named(names: list[str], number: int) -> str:
    return names[number] if number < len(names) else f"type {number}"
