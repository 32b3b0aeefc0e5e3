"""Sends COUNT datagrams of SIZE bytes to itself, in a network namespace of its own, and receives them.

With a third argument, each call sends as many in one, which the kernel cuts up on the way (UDP_SEGMENT).
Prints the number of the namespace, and how many datagrams were received and sent by its kernel's own count.
"""

import ctypes
import os
import socket
import subprocess
import sys

NEW_NETWORK = 0x40000000  # CLONE_NEWNET
UDP_SEGMENT = 103

libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(NEW_NETWORK):
    sys.exit(os.strerror(ctypes.get_errno()))
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
count, size, at_once = (*map(int, sys.argv[1:]), 1)[:3]
host = "127.0.0.1"
family = socket.AF_INET
receiver, sender = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_DGRAM)
receiver.bind((host, 0))
if at_once > 1:
    sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
sender.connect(receiver.getsockname())
for _ in range(count // at_once):
    sender.send(bytes(size * at_once))
    for _ in range(at_once):
        receiver.recv(1 << 16)
with open("/proc/thread-self/net/snmp") as counts:
    names, values = (line.split() for line in counts if line.startswith("Udp:"))
print(
    os.stat("/proc/thread-self/ns/net").st_ino,
    *(values[names.index(n)] for n in ("InDatagrams", "OutDatagrams")),
)
