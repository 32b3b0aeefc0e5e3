from __future__ import annotations

import socket
import struct

import numpy as np
import pytest

from tracelab.recorder.addresses import address_texts


def inet(host: str, port: int) -> bytes:
    return struct.pack("=H", socket.AF_INET) + struct.pack(">H", port) + socket.inet_aton(host)


def inet6(host: str, port: int, scope: int = 0) -> bytes:
    address = socket.inet_pton(socket.AF_INET6, host)
    return (
        struct.pack("=H", socket.AF_INET6) + struct.pack(">HI", port, 0) + address + struct.pack("=I", scope)
    )


def unix(name: bytes) -> bytes:
    return struct.pack("=H", socket.AF_UNIX) + name


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (inet("127.0.0.1", 80), "127.0.0.1:80"),
        (inet("0.0.0.0", 0), "0.0.0.0:0"),
        (inet6("::1", 8080), "[::1]:8080"),
        (inet6("fe80::1", 22, 2), "[fe80::1%2]:22"),
        (inet6("::ffff:10.0.0.1", 443), "[::ffff:10.0.0.1]:443"),
        (unix(b"/run/x.sock\0rubbish"), "/run/x.sock"),
        (unix(b"\0abstract"), "@abstract"),
        (unix(b"\0a\0b"), "@a@b"),
        (unix(b"/" + b"n" * 107), "/" + "n" * 107),
        (unix(b"/\xff"), "/\\xff"),
        (unix(b""), ""),
        (struct.pack("=HHII", 40, 0, 1024, 3), "vsock:3:1024"),
        (struct.pack("=HHI", 16, 0, 77), "netlink:77"),
        (struct.pack("=H", 17), "family 17"),
        (b"", ""),
    ],
)
def test_an_address_is_written_as_ss_writes_it(address: bytes, text: str) -> None:
    assert address_texts(np.array([address], "S112")) == [text]


def test_the_texts_come_in_the_order_of_the_addresses() -> None:
    several = [inet("10.0.0.2", 2), b"", inet("10.0.0.1", 1), inet("10.0.0.2", 2)]
    assert address_texts(np.array(several, "S28")) == ["10.0.0.2:2", "", "10.0.0.1:1", "10.0.0.2:2"]


def test_no_addresses_are_no_texts() -> None:
    assert address_texts(np.zeros(0, "S28")) == []
