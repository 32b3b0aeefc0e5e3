"""Lives of TCP connections, against both ends of them."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from probe_records import Records, Taken, adds_up, taking, until
from recordings import command_pid, recorded, rows, workload
from tracelab.recorder.addresses import address_texts

UNKNOWN = 2**64 - 1
SENT, ANSWERED = 300_001, 777
CLIENT = ["syn_sent", "established", "fin_wait1", "fin_wait2", "close"]
SERVER = ["syn_recv", "established", "close_wait", "last_ack", "close"]


def talk(host: str, count: int) -> tuple[int, list[list[str]]]:
    """The process, and what it says of each connection: own end, the other, how long."""
    process = subprocess.Popen(
        workload("talks", host, count, SENT, ANSWERED), stdout=subprocess.PIPE, text=True
    )
    said = process.communicate()[0].splitlines()
    assert process.returncode == 0
    return process.pid, [line.split() for line in said]


def by_connection(records: Records) -> list[Records]:
    """The lives in it: a number can serve several, one after the other."""
    lives: list[Records] = []
    for key in np.unique(records["key"]):
        of_key = records[records["key"] == key]
        begins = np.flatnonzero(of_key["value"] == 0)
        lives += np.split(of_key, begins[begins > 0])
    return lives


def lives(taken: Taken, pid: int, states: list[str]) -> list[Records]:
    return [life for life in by_connection(taken.records(pid=pid)) if taken.names(life) == states]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_both_ends_of_a_connection_go_through_their_states_with_their_bytes_and_addresses(host: str) -> None:
    with taking("tcp") as taken:
        pid, told = talk(host, 3)
        until(lambda: len(lives(taken, pid, SERVER)) == 3, "both ends of three connections are closed")
        clients, servers = lives(taken, pid, CLIENT), lives(taken, pid, SERVER)
        assert adds_up(taken.counts())
    ends = [(own, other) for own, other, _ in told]
    for side, sent, received, local, peer in (
        (clients, SENT, ANSWERED, 0, 1),
        (servers, ANSWERED, SENT, 1, 0),
    ):
        assert len(side) == 3
        last = np.sort(np.concatenate([life[-1:] for life in side]), order="time_ns")
        assert last["ret"].tolist() == [sent] * 3
        assert last["size_bytes"].tolist() == [received] * 3
        assert address_texts(last["local"]) == [end[local] for end in ends]
        assert address_texts(last["peer"]) == [end[peer] for end in ends]
    for life in clients:
        assert life["ret"].tolist()[:2] == [0, 0]
        assert (np.diff(life["value"].astype(np.int64)) > 0).all()
    longest = max(int(lasted) for _, _, lasted in told)
    assert all(int(life["value"][-1]) < longest for life in clients)


def test_who_is_refused_and_who_listens_is_told() -> None:
    with taking("tcp") as taken:
        pid, told = talk("127.0.0.1", 1)
        records = taken.records(pid=pid)
        names = taken.names(records)
    listens, refused = (records[[name == which for name in names]] for which in ("listen", "refused"))
    assert address_texts(listens["local"]) == [told[0][1]]
    assert address_texts(listens["peer"]) == [""]
    assert address_texts(refused["peer"]) == [told[0][1]]
    assert refused["size_bytes"].tolist() == [0]


def test_a_connection_that_is_reset_ends_as_that_and_the_one_that_resets_it_closes() -> None:
    with taking("tcp", OWN_TGID=0) as taken:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = socket.create_connection(listener.getsockname())
            server, _ = listener.accept()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            with pytest.raises(ConnectionResetError):
                server.recv(1)
            server.close()
        lasts = [taken.names(life)[-1] for life in by_connection(taken.records(pid=os.getpid()))]
    assert sorted(lasts) == ["close", "close", "reset"]  # the client, the listener, the server's end


def test_what_was_there_before_has_no_age_and_is_its_owners_from_its_close_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        client.sendall(b"x" * 100)
        assert len(server.recv(100)) == 100
        with taking("tcp", OWN_TGID=0) as taken:
            client.close()
            server.close()
            records = taken.records()
    mine = records[records["pid"] == os.getpid()]
    assert taken.names(mine)[0] == "fin_wait1"
    assert mine["ret"][0] == 100
    assert (mine["value"] == UNKNOWN).all()


def test_only_the_lives_that_were_asked_for_are_kept() -> None:
    asked = {"EVENT_ASKED(nr)": "((nr)==7||(nr)==14)", "DURATION_ASKED(ns)": "((ns)>=1)"}
    with taking("tcp", **asked) as taken:
        pid, _ = talk("127.0.0.1", 2)
        until(lambda: len(taken.records(pid=pid)) >= 6, "two clients, two servers, a listener, one refused")
        names = taken.names(taken.records(pid=pid))
        counts = taken.counts()
    assert sorted(names) == ["close"] * 5 + ["refused"]
    assert counts["filtered"] >= 17
    assert adds_up(counts)


def test_a_recording_has_addresses_as_texts(tmp_path: Path) -> None:
    recording = recorded(
        tmp_path / "s", workload("talks", "::1", 1, 10, 20), events="tcp:established,tcp:refused"
    )
    events = rows(recording, "events", pid=command_pid(recording))
    texts = {(t["time_ns"], t["field"]): str(t["text"]) for t in rows(recording, "strings")}
    assert sorted(str(e["event"]) for e in events) == ["established", "established", "refused"]
    ends = [[texts[e["time_ns"], field] for field in ("local", "peer")] for e in events]
    established = [pair for pair, e in zip(ends, events, strict=True) if e["event"] == "established"]
    assert established[0] == established[1][::-1]
    assert all(text.startswith("[::1]:") for pair in ends for text in pair)
