"""Where eBPF programs are attached: through links, through perf events, and where lists of the kernel name them.

Layouts: struct bpf_link_info and BPF_TASK_FD_QUERY, BPF_PROG_QUERY in include/uapi/linux/bpf.h.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tracelab.recorder import btf, introspect, tracefs

_TASK_FD_QUERY, _PROG_QUERY = 20, 16
_TEXT_BYTES = 4096
_VMLINUX_BTF = 1  #: the kernel's own types are the first that it registers
MAX_CGROUPS = 2000  #: looked at for programs without link
CGROUPS = Path("/sys/fs/cgroup")
LINK_TYPES = (
    "unspec raw_tracepoint tracing cgroup iter netns xdp perf_event kprobe_multi struct_ops netfilter tcx "
    "uprobe_multi netkit sockmap"
).split()
#: enum bpf_perf_event_type, and the types of BPF_TASK_FD_QUERY
_PERF_TYPES = "unspec uprobe uretprobe kprobe kretprobe tracepoint perf_event".split()
_FD_TYPES = "raw_tracepoint tracepoint kprobe kretprobe uprobe uretprobe".split()
_ATTACH_TYPES = {
    23: "raw_tp",
    24: "fentry",
    25: "fexit",
    26: "fmod_ret",
    27: "lsm",
    28: "iter",
    43: "lsm_cgroup",
}
_CGROUP_TYPES = (
    "cgroup_inet_ingress cgroup_inet_egress cgroup_inet_sock_create cgroup_sock_ops - - cgroup_device - "
    "cgroup_inet4_bind cgroup_inet6_bind cgroup_inet4_connect cgroup_inet6_connect cgroup_inet4_post_bind "
    "cgroup_inet6_post_bind cgroup_udp4_sendmsg cgroup_udp6_sendmsg - - cgroup_sysctl cgroup_udp4_recvmsg "
    "cgroup_udp6_recvmsg cgroup_getsockopt cgroup_setsockopt - - - - - - cgroup_inet4_getpeername "
    "cgroup_inet6_getpeername cgroup_inet4_getsockname cgroup_inet6_getsockname - cgroup_inet_sock_release"
).split()
#: attach types (numbers of enum bpf_attach_type) at which programs of a type may be, without link
_CGROUP_PROGRAMS = {
    "cgroup_skb": (0, 1),
    "cgroup_sock": (2, 12, 13, 34),
    "sock_ops": (3,),
    "cgroup_device": (6,),
    "cgroup_sock_addr": (8, 9, 10, 11, 14, 15, 19, 20, 29, 30, 31, 32),
    "cgroup_sysctl": (18,),
    "cgroup_sockopt": (21, 22),
}
_SOFTWARE_EVENTS = (
    "cpu-clock task-clock page-faults context-switches cpu-migrations minor-faults major-faults alignment-faults "
    "emulation-faults dummy bpf-output cgroup-switches"
).split()
_HARDWARE_EVENTS = (
    "cycles instructions cache-references cache-misses branch-instructions branch-misses bus-cycles "
    "stalled-cycles-frontend stalled-cycles-backend ref-cycles"
).split()


@dataclass(frozen=True, slots=True, order=True)
class Attachment:
    """One place at which a program is attached."""

    prog_id: int
    type: str
    target: str | None
    link_id: int | None = None

    def __str__(self) -> str:
        return f"{self.type} {self.target}" if self.target else self.type


def link(number: int) -> Attachment:
    """The link with an id; raises OSError when it is gone."""
    with introspect.opened("link", number) as fd:
        info = introspect.object_info(fd, 64)
        kind, _, prog_id = struct.unpack_from("<III", info)
        name = LINK_TYPES[kind] if kind < len(LINK_TYPES) else f"link {kind}"
        target: str | None = None
        match name:
            case "raw_tracepoint":
                target = _asked_text(fd, 16, 24)
            case "perf_event":
                name, target = _perf_event(fd, info)
            case "iter":
                target = _asked_text(fd, 16, 24)
            case "uprobe_multi":
                places = struct.unpack_from("<I", info, 52)[0]
                target = f"{_asked_text(fd, 16, 48)}, {places} places"
            case "kprobe_multi":
                target = f"{struct.unpack_from('<I', info, 24)[0]} functions"
            case "tracing":
                name, target = _tracing(*struct.unpack_from("<III", info, 16))
            case "cgroup":
                cgroup, at = struct.unpack_from("<QI", info, 16)
                name, target = _cgroup_type(at), _cgroup_path(cgroup)
            case "xdp" | "tcx" | "netkit":
                target = interface(struct.unpack_from("<I", info, 16)[0])
            case "netns":
                target = f"netns {struct.unpack_from('<I', info, 16)[0]}"
            case "netfilter":
                target = "family {} hook {}".format(*struct.unpack_from("<II", info, 16))
            case "struct_ops" | "sockmap":
                target = f"map {struct.unpack_from('<I', info, 16)[0]}"
        return Attachment(prog_id, name, target or None, number)


def perf_event(pid: int, fd: int) -> Attachment | None:
    """What a process' descriptor of a perf event runs, as far as the kernel tells; None for no program.

    It does not tell of programs of type perf_event (OSError, EOPNOTSUPP).
    """
    text = ctypes.create_string_buffer(_TEXT_BYTES)
    request = struct.pack("<4IQ", pid, fd, 0, len(text), ctypes.addressof(text))
    try:
        _, block = introspect.bpf(_TASK_FD_QUERY, request, 48)
    except FileNotFoundError:
        return None
    prog_id, kind, offset, address = struct.unpack_from("<IIQQ", block, 24)
    name = _FD_TYPES[kind] if kind < len(_FD_TYPES) else f"type {kind}"
    return Attachment(prog_id, name, _place(name, introspect.text(text.raw), offset, address))


def cgroup_programs(types: set[str]) -> list[Attachment]:
    """Programs of some types that are attached to control groups, with or without link."""
    wanted = sorted({at for kind in types for at in _CGROUP_PROGRAMS.get(kind, ())})
    found = []
    for folder in _cgroups() if wanted else ():
        with contextlib.suppress(OSError):
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                for at in wanted:
                    found += [Attachment(n, _cgroup_type(at), _relative(folder)) for n in attached(fd, at)]
            finally:
                os.close(fd)
    return found


def event_name(kind: int, config: int) -> str:
    """What perf calls an event.

    >>> event_name(1, 0), event_name(0, 1), event_name(4, 0x1C2)
    ('cpu-clock', 'instructions', 'type 4 config 0x1c2')
    """
    names = {0: _HARDWARE_EVENTS, 1: _SOFTWARE_EVENTS}.get(kind, [])
    return names[config] if config < len(names) else f"type {kind} config {config:#x}"


def _perf_event(fd: int, info: bytes) -> tuple[str, str | None]:
    kind = struct.unpack_from("<I", info, 16)[0]
    name = _PERF_TYPES[kind] if 0 < kind < len(_PERF_TYPES) else "perf_event"
    if name == "perf_event":
        config, event = struct.unpack_from("<QI", info, 24)
        return name, event_name(event, config) if kind else None
    offset, address = struct.unpack_from("<IQ", info, 36) if len(info) >= 48 else (0, 0)
    return name, _place(name, _asked_text(fd, 24, 32), offset, address if "kprobe" in name else 0)


def _place(kind: str, name: str, offset: int, address: int) -> str | None:
    """A place as perf writes it."""
    if kind == "tracepoint":
        return tracepoint(name)
    if kind in ("uprobe", "uretprobe"):
        return f"{name}+{offset:#x}"
    if "kprobe" in kind or "kretprobe" in kind:
        return (f"{name}+{offset:#x}" if offset else name) if name else f"{address:#x}"
    return name or None


def _tracing(attach_type: int, types_of: int, number: int) -> tuple[str, str | None]:
    name = _ATTACH_TYPES.get(attach_type, "tracing")
    if types_of == _VMLINUX_BTF:
        with contextlib.suppress(OSError, ValueError, LookupError, struct.error):
            return name, _function(number)
    return name, f"type {number} of {types_of}" if number else None


@cache
def _function(number: int) -> str:
    """A function of the kernel by the number of its type."""
    return _Names(btf.running()).name(number)


class _Names(btf.Btf):
    def __init__(self, types: btf.Btf) -> None:
        self.__dict__.update(types.__dict__)

    def name(self, number: int) -> str:
        return self._name(number)


def _asked_text(fd: int, pointer_at: int, size_at: int) -> str:
    """A text of bpf_link_info that the kernel copies to where it is told."""
    text = ctypes.create_string_buffer(_TEXT_BYTES)
    request = bytearray(64)
    struct.pack_into("<Q", request, pointer_at, ctypes.addressof(text))
    struct.pack_into("<I", request, size_at, len(text))
    with contextlib.suppress(OSError):
        introspect.object_info(fd, 64, bytes(request))
    return introspect.text(text.raw)


@cache
def tracepoint(name: str) -> str:
    """A tracepoint as category:name, where tracefs is mounted and one category alone has it."""
    place = tracefs.mounted()
    found = list(place.glob(f"events/*/{name}")) if place and "/" not in name and "*" not in name else []
    return f"{found[0].parent.name}:{name}" if len(found) == 1 else name


def _cgroup_type(number: int) -> str:
    return _CGROUP_TYPES[number] if number < len(_CGROUP_TYPES) else f"cgroup {number}"


def _cgroup_path(number: int) -> str:
    """The control group whose inode has the number."""
    for folder in _cgroups():
        with contextlib.suppress(OSError):
            if folder.stat().st_ino == number:
                return _relative(folder)
    return f"cgroup {number}"


def _cgroups() -> list[Path]:
    """The root of the unified hierarchy and what is below it, breadth first, up to MAX_CGROUPS."""
    root = next(
        (place for place in (CGROUPS / "unified", CGROUPS) if (place / "cgroup.procs").is_file()), None
    )
    found = [root] if root else []
    for folder in found:
        if len(found) >= MAX_CGROUPS:
            break
        with contextlib.suppress(OSError):
            found += [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    return found[:MAX_CGROUPS]


def _relative(folder: Path) -> str:
    text = str(folder).removeprefix(str(CGROUPS / "unified")).removeprefix(str(CGROUPS))
    return text or "/"


def attached(to: int, attach_type: int) -> list[int]:
    """Programs attached to a control group itself, by its descriptor, or to a network device, by its number."""
    numbers = (ctypes.c_uint32 * 64)()
    request = struct.pack("<4IQI", to, attach_type, 0, 0, ctypes.addressof(numbers), len(numbers))
    try:
        _, block = introspect.bpf(_PROG_QUERY, request, 64)
    except OSError:
        return []
    return list(numbers[: struct.unpack_from("<I", block, 24)[0]])


def interface(number: int) -> str:
    """The name of a network device; its number when it is gone."""
    try:
        return socket.if_indextoname(number)
    except OSError:
        return f"interface {number}"
