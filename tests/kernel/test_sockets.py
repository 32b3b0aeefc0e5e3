"""connect() and accept(), against both ends of connections that were made."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from probe_records import Records, Taken, adds_up, taking, until
from recordings import command_pid, recorded, rows, workload
from tracelab.recorder import loader
from tracelab.recorder.addresses import address_texts

UNKNOWN = 2**64 - 1


def talk(host: str, count: int) -> tuple[int, list[list[str]]]:
    """The process, and what it says of each connection: own end, the other, how long."""
    process = subprocess.Popen(workload("talks", host, count, 10, 10), stdout=subprocess.PIPE, text=True)
    said = process.communicate()[0].splitlines()
    assert process.returncode == 0
    return process.pid, [line.split() for line in said]


def calls(taken: Taken, pid: int, name: str) -> Records:
    records = taken.records(pid=pid)
    return records[[n == name for n in taken.names(records)]]


@pytest.mark.parametrize("way", range(2), ids=["tracepoints of the calls", "tracepoints of all calls"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_connect_and_accept_tell_both_addresses_and_the_last_one_who_refused(
    host: str, way: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "available_way", lambda probe: way)
    with taking("sockets") as taken:
        pid, told = talk(host, 3)
        connects, accepts = calls(taken, pid, "connect"), calls(taken, pid, "accept")
        assert adds_up(taken.counts())
    own, other = [t[0] for t in told], [t[1] for t in told]
    assert connects["ret"].tolist() == [0, 0, 0, -errno.ECONNREFUSED]
    assert address_texts(connects["peer"]) == [*other, other[0]]
    assert address_texts(connects["local"])[:3] == own
    assert (accepts["ret"] > 2).all()
    assert address_texts(accepts["peer"]) == own
    assert address_texts(accepts["local"]) == other
    assert (connects["value"] > 0).all()
    assert UNKNOWN not in accepts["value"].tolist()


@pytest.mark.parametrize("host", ["/{folder}/socket", "@tracelab-{pid}"])
def test_a_unix_socket_is_told_by_its_path_or_abstract_name(tmp_path: Path, host: str) -> None:
    host = host.format(folder=str(tmp_path)[1:], pid=os.getpid())
    with taking("sockets") as taken:
        pid, _ = talk(host, 2)
        connects, accepts = calls(taken, pid, "connect"), calls(taken, pid, "accept")
    assert address_texts(connects["peer"]) == [host, host]
    assert address_texts(accepts["local"]) == [host, host]
    assert address_texts(accepts["peer"]) == ["", ""]
    assert connects["ret"].tolist() == [0, 0]


def test_the_duration_of_accept_is_the_wait_for_somebody() -> None:
    with taking("sockets", OWN_TGID=0) as taken, socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()):
            listener.accept()[0].close()
        later = threading.Timer(0.2, lambda: socket.create_connection(listener.getsockname()).close())
        later.start()
        listener.accept()[0].close()
        later.join()
        accepts = calls(taken, os.getpid(), "accept")
    at_once, waited = accepts["value"].tolist()
    assert waited > 100_000_000
    assert at_once < waited


def test_what_is_no_socket_has_no_key_and_fails_as_the_call_does() -> None:
    connect = ctypes.CDLL(None, use_errno=True).connect
    address = ctypes.create_string_buffer(b"\x02\0\0\x50\x7f\0\0\x01".ljust(16, b"\0"), 16)
    with taking("sockets", OWN_TGID=0) as taken:
        file = os.open("/dev/null", os.O_RDONLY)
        results = [connect(file, address, 16), connect(-1, address, 16), connect(file, None, 16)]
        os.close(file)
        connects = calls(taken, os.getpid(), "connect")
    assert results == [-1, -1, -1]
    assert connects["ret"].tolist() == [-errno.ENOTSOCK, -errno.EBADF, -errno.EFAULT]
    assert connects["key"].tolist() == [UNKNOWN] * 3
    assert address_texts(connects["peer"]) == ["127.0.0.1:80", "127.0.0.1:80", ""]


def test_an_accept_that_began_before_has_no_duration_but_its_addresses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        names: list[str] = []

        def serve() -> None:
            connection, (host, port) = listener.accept()
            names.append(f"{host}:{port}")
            connection.close()

        server = threading.Thread(target=serve)
        server.start()
        wchan = Path(f"/proc/self/task/{server.native_id}/syscall")
        until(lambda: wchan.read_text().split()[0] in ("43", "288"), "the server waits in accept()")
        with taking("sockets", OWN_TGID=0) as taken:
            socket.create_connection(listener.getsockname()).close()
            server.join()
            accepts = calls(taken, os.getpid(), "accept")
    assert accepts["value"].tolist() == [UNKNOWN]
    assert address_texts(accepts["peer"]) == names


def test_a_socket_has_the_number_of_its_connection(tmp_path: Path) -> None:
    recording = recorded(
        tmp_path / "s", workload("talks", "127.0.0.1", 1, 10, 10), events="sockets,tcp:established"
    )
    events = rows(recording, "events", pid=command_pid(recording))
    keys = {
        probe: {
            e["key"]
            for e in events
            if e["probe"] == probe and e["ret"] is not None and int(str(e["ret"])) >= 0
        }
        for probe in ("sockets", "tcp")
    }
    assert len(keys["tcp"]) == 2
    assert keys["sockets"] == keys["tcp"]
    texts = {t["field"] for t in rows(recording, "strings") if t["event"] == "accept"}
    assert texts == {"local", "peer"}


def test_only_what_failed_is_kept_when_that_is_asked_for() -> None:
    with taking("sockets", **{"RESULT_ASKED(ret)": "((u64)(ret)>=(u64)-4095LL)"}) as taken:
        pid, _ = talk("127.0.0.1", 2)
        records, counts = taken.records(pid=pid), taken.counts()
    assert records["ret"].tolist() == [-errno.ECONNREFUSED]
    assert counts["filtered"] >= 4
    assert adds_up(counts)
