"""Sends by TCP over a link of its own that loses what is sent, in the way that the argument says.

syn     connects to an address that nobody has
synack  is connected to, and cannot answer
data    1000 bytes, to somebody who is gone for a second
queue   4 MB, through a queue that is too short for it

Prints how many segments this side's kernel says it sent again, by its namespace and, but for synack, by the connection,
then the bytes that the latter counts as sent again. The two ends of the link are namespaces that end with this process.
"""

import contextlib
import ctypes
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time

NEW_NETWORK = 0x40000000  # CLONE_NEWNET
SYN_COUNT, INFO = 7, 11  # TCP_SYNCNT, TCP_INFO
UNACKED, TOTAL_RETRANS, BYTES_RETRANS = 24, 100, 208  # in struct tcp_info
HERE, THERE = "10.9.0.1", "10.9.0.2"
NOBODY = "02:00:00:00:00:09"
libc = ctypes.CDLL(None, use_errno=True)


def run(command):
    return subprocess.run(command.split(), check=True, stdout=subprocess.PIPE).stdout


def new_namespace():
    if libc.unshare(NEW_NETWORK):
        sys.exit(os.strerror(ctypes.get_errno()))
    run("ip link set lo up")
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY)


@contextlib.contextmanager
def there():
    libc.setns(other_end, NEW_NETWORK)
    yield
    libc.setns(this_end, NEW_NETWORK)


def resent_segments():
    with open("/proc/thread-self/net/snmp") as counts:
        names, values = (line.split() for line in counts if line.startswith("Tcp:"))
    return int(values[names.index("RetransSegs")])


def connect(address):
    connecting = socket.socket()
    connecting.setsockopt(socket.IPPROTO_TCP, SYN_COUNT, 1)
    with contextlib.suppress(TimeoutError):
        connecting.connect((address, 81))
    return connecting


def receive(receiver, size):
    while size:
        size -= len(receiver.recv(1 << 16))


def outstanding(sender):
    """Segments that were not acknowledged yet."""
    return struct.unpack_from("<I", sender.getsockopt(socket.IPPROTO_TCP, INFO, 256), UNACKED)[0]


this_end, other_end = new_namespace(), new_namespace()
libc.setns(this_end, NEW_NETWORK)
run(f"ip link add v0 type veth peer name v1 netns /proc/{os.getpid()}/fd/{other_end}")
run(f"ip addr add {HERE}/24 dev v0")
run("ip link set v0 up")
with there():
    run("ip link set v1 up")
    address = json.loads(run("ip -j link show v1"))[0]["address"]
    if sys.argv[1] != "syn":
        run(f"ip addr add {THERE}/24 dev v1")

if sys.argv[1] == "syn":
    run(f"ip neigh add {THERE} lladdr {address} dev v0 nud permanent")
    sender = connect(THERE)
elif sys.argv[1] == "synack":
    run(f"ip neigh add {THERE} lladdr {NOBODY} dev v0 nud permanent")
    sender = socket.create_server((HERE, 81))
    with there():
        connect(HERE).close()
else:
    with there():
        listener = socket.create_server((THERE, 81))
    sender = connect(THERE)
    receiver, _ = listener.accept()
    if sys.argv[1] == "data":
        with there():
            run(f"ip addr del {THERE}/24 dev v1")
        sender.sendall(b"x" * 1000)
        time.sleep(1)
        with there():
            run(f"ip addr add {THERE}/24 dev v1")
        receive(receiver, 1000)
    else:
        run("tc qdisc add dev v0 root tbf rate 200mbit burst 20000 limit 40000")
        threading.Thread(target=sender.sendall, args=(bytes(4_000_000),)).start()
        receive(receiver, 4_000_000)
    while outstanding(sender):
        time.sleep(0.01)
info = sender.getsockopt(socket.IPPROTO_TCP, INFO, 256)
resent, resent_bytes = (
    struct.unpack_from("<I", info, TOTAL_RETRANS),
    struct.unpack_from("<Q", info, BYTES_RETRANS),
)
print(resent_segments(), *resent, *resent_bytes)
