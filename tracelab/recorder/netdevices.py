"""Programs that are attached to network devices without a link: XDP and tc, as route sockets tell, and tcx and netkit.

Of the devices of the network namespace that the recorder is in. Of tc, filters of kind bpf, which hold the program
themselves; not actions, and not filters of blocks that devices share.
Layouts: include/uapi/linux/{rtnetlink,if_link,pkt_sched,pkt_cls}.h.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator

from tracelab.recorder.attachments import Attachment, attached, interface

MAX_DEVICES = 2000  #: looked at
_GETLINK, _GETQDISC, _GETTFILTER = 18, 38, 46
_ERROR, _DONE = 2, 3
_REQUEST_DUMP = 0x301
_HEADER, _LINK, _TC = struct.Struct("<IHHII"), struct.Struct("<BxHiII"), struct.Struct("<BxxxiIII")
_LINK_XDP = 43
#: numbers of a program in a device's description: the one that runs, or one for each place that can run it
_XDP_PROGRAMS = (4, 5, 6, 7)
_TC_KIND, _TC_OPTIONS, _BPF_ID = 1, 2, 11
_DIRECTIONS = {"ingress": 0xFFFFFFF2, "egress": 0xFFFFFFF3}
_TYPE_MASK = 0x3FFF  #: of an attribute, without the flag that it holds others
_RECEIVE_BYTES = 1 << 17
_WAIT_S = 1.0
#: attach types (enum bpf_attach_type) at which there can be programs without link
_MULTIPLE = {"tcx": (46, 47), "netkit": (54, 55)}


def device_programs(types: set[str]) -> list[Attachment]:
    """Programs of some types that are attached to network devices, with or without link; none where it is refused."""
    found: list[Attachment] = []
    with contextlib.suppress(OSError):
        if "xdp" in types:
            found += _xdp()
    with contextlib.suppress(OSError):
        if types & {"sched_cls", "sched_act"}:
            found += _filters()
    if "sched_cls" in types:
        found += _multiple()
    return found


def _xdp() -> Iterator[Attachment]:
    for message in _dump(_GETLINK, _LINK.pack(0, 0, 0, 0, 0)):
        device = _LINK.unpack_from(message)[2]
        about = _attributes(_attributes(message[_LINK.size :]).get(_LINK_XDP, b""))
        for number in sorted({struct.unpack_from("<I", about[n])[0] for n in _XDP_PROGRAMS if n in about}):
            yield Attachment(number, "xdp", interface(device))


def _filters() -> Iterator[Attachment]:
    for message in list(_dump(_GETQDISC, _TC.pack(0, 0, 0, 0, 0)))[:MAX_DEVICES]:
        _, device, handle, _, _ = _TC.unpack_from(message)
        kind = _attributes(message[_TC.size :]).get(_TC_KIND, b"").rstrip(b"\0")
        parents = _DIRECTIONS if kind in (b"clsact", b"ingress") else {f"{handle >> 16:x}:": handle}
        for where, parent in parents.items():
            for number in sorted(_of_parent(device, parent) if parent else ()):
                yield Attachment(number, "tc", f"{interface(device)} {where}")


def _of_parent(device: int, parent: int) -> set[int]:
    """Programs of the filters below one parent."""
    found: set[int] = set()
    with contextlib.suppress(OSError):  # the device is gone, or has no classes
        for message in _dump(_GETTFILTER, _TC.pack(0, device, 0, parent, 0)):
            about = _attributes(message[_TC.size :])
            if about.get(_TC_KIND) == b"bpf\0":
                number = _attributes(about.get(_TC_OPTIONS, b"")).get(_BPF_ID)
                found |= {struct.unpack_from("<I", number)[0]} if number else set()
    return found


def _multiple() -> Iterator[Attachment]:
    """Programs of tcx (Linux 6.6) and netkit (6.7) devices, of which there can be several in a row."""
    for number, name in socket.if_nameindex()[:MAX_DEVICES]:
        for kind, attach_types in _MULTIPLE.items():
            for program in sorted({p for at in attach_types for p in attached(number, at)}):
                yield Attachment(program, kind, name)


def _dump(kind: int, question: bytes) -> Iterator[bytes]:
    """Answers of a route socket without their headers; raises OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as route:
        route.settimeout(_WAIT_S)
        route.sendto(_HEADER.pack(_HEADER.size + len(question), kind, _REQUEST_DUMP, 1, 0) + question, (0, 0))
        while True:
            data = route.recv(_RECEIVE_BYTES)
            while len(data) >= _HEADER.size:
                size, answer, _, _, _ = _HEADER.unpack_from(data)
                if answer == _DONE or size < _HEADER.size:
                    return
                if answer == _ERROR:
                    code = -struct.unpack_from("<i", data, _HEADER.size)[0]
                    raise OSError(code, os.strerror(code))
                yield data[_HEADER.size : size]
                data = data[(size + 3) & ~3 :]


def _attributes(data: bytes) -> dict[int, bytes]:
    """Attributes in a row, by type.

    >>> _attributes(bytes.fromhex("0500 0100 41000000 0800 0400 45424645"))
    {1: b'A', 4: b'EBFE'}
    """
    found = {}
    while len(data) >= 4:
        size, kind = struct.unpack_from("<HH", data)
        if size < 4:
            break
        found[kind & _TYPE_MASK] = data[4:size]
        data = data[(size + 3) & ~3 :]
    return found
