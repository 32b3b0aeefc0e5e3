"""Connects to itself COUNT times over HOST, a path or an @abstract name; each time sends and gets back so many bytes.

The client stops sending first and then closes, the server closes when it has answered. Prints, for each connection,
the texts of both ends and how long it lasted, in ns, as seen by the client. At the end it connects once more, and is
refused; over a path, it does not.
"""

import contextlib
import socket
import sys
import threading
import time

host, count, sent, answered = sys.argv[1], *map(int, sys.argv[2:5])
family = socket.AF_UNIX if host[0] in "/@" else socket.AF_INET6 if ":" in host else socket.AF_INET
listener = socket.socket(family)
listener.bind("\0" + host[1:] if host[0] == "@" else host if family == socket.AF_UNIX else (host, 0))
listener.listen()
name = listener.getsockname()


def text(address):
    if family == socket.AF_UNIX:
        return host
    return f"[{address[0]}]:{address[1]}" if family == socket.AF_INET6 else f"{address[0]}:{address[1]}"


def serve():
    for _ in range(count):
        connection, _ = listener.accept()
        with connection:
            left = sent
            while left:
                left -= len(connection.recv(1 << 16))
            assert connection.recv(1) == b""
            connection.sendall(b"a" * answered)


server = threading.Thread(target=serve)
server.start()
for _ in range(count):
    client = socket.socket(family)
    begin = time.monotonic_ns()
    client.connect(name)
    ends = text(client.getsockname()), text(client.getpeername())
    client.sendall(b"q" * sent)
    client.shutdown(socket.SHUT_WR)
    while client.recv(1 << 16):
        pass
    client.close()
    print(*ends, time.monotonic_ns() - begin)
server.join()
listener.close()
if family != socket.AF_UNIX:  # nobody listens any more
    refused = socket.socket(family)
    with contextlib.suppress(ConnectionRefusedError):
        refused.connect(name)
    refused.close()
