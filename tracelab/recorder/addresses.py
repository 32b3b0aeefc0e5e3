"""Socket addresses, as the kernel has them, as texts.

Layouts: `struct sockaddr_in`, `sockaddr_in6`, `sockaddr_un`, `sockaddr_vm` and `sockaddr_nl`, see ip(7), ipv6(7),
unix(7), vsock(7) and netlink(7).
"""

from __future__ import annotations

import ipaddress
import struct
import sys

import numpy as np
import numpy.typing as npt

_UNSPEC, _UNIX, _INET, _INET6, _NETLINK, _VSOCK = 0, 1, 2, 10, 16, 40
_NAME_AT = 2  #: where a Unix socket's path, or its abstract name behind a zero, begins


def address_texts(raw: npt.NDArray[np.bytes_]) -> list[str]:
    r"""Text of each address, in order, of an array of dtype S28 or longer; "" where there is none.

    As ss(8) writes them: `127.0.0.1:80`, `[::1]:80`, `[fe80::1%2]:80`, `/run/x.sock`, `@abstract`; then
    `vsock:CID:PORT`, `netlink:PORTID`, and `family N` for what has no known text.

    >>> address_texts(np.array([b"\x02\0\0\x50\x7f\0\0\x01"], "S28"))
    ['127.0.0.1:80']
    """
    different, which = np.unique(raw, return_inverse=True)
    size = raw.dtype.itemsize
    texts = [_text(bytes(one).ljust(size, b"\0")) for one in different]
    return [texts[i] for i in which.tolist()]


def _text(address: bytes) -> str:
    family = int.from_bytes(address[:2], sys.byteorder)
    if family == _UNSPEC:
        return ""
    if family == _UNIX:
        return _unix(address[_NAME_AT:])
    if family == _INET:
        return f"{ipaddress.IPv4Address(address[4:8])}:{struct.unpack_from('>H', address, 2)[0]}"
    if family == _INET6:
        port, host = struct.unpack_from(">H", address, 2)[0], ipaddress.IPv6Address(address[8:24])
        (scope,) = struct.unpack_from("=I", address, 24)
        mapped = f"::ffff:{host.ipv4_mapped}" if host.ipv4_mapped else str(host)
        return f"[{mapped}{f'%{scope}' if scope else ''}]:{port}"
    if family == _VSOCK:
        port, cid = struct.unpack_from("=II", address, 4)
        return f"vsock:{cid}:{port}"
    if family == _NETLINK:
        return f"netlink:{struct.unpack_from('=I', address, 4)[0]}"
    return f"family {family}"


def _unix(name: bytes) -> str:
    """A path ends at its first zero; an abstract name may have zeros inside."""
    if name.startswith(b"\0"):
        name = name[1:].rstrip(b"\0").replace(b"\0", b"@")
        return f"@{name.decode('utf-8', 'backslashreplace')}" if name else ""
    return name.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")
