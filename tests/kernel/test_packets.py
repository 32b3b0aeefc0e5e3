"""Packets through network devices, against those that were sent, and the kernel's own counts of its namespace."""

from __future__ import annotations

import subprocess
from collections import Counter

from networks import namespace_key, needs_namespaces
from probe_records import Records, Taken, adds_up, taking
from recordings import workload

pytestmark = needs_namespaces
ALL = {"RATE_LIMIT": 0}
HEADERS = 28  # of IPv4 and UDP
LOOPBACK = 1  # the first device of every namespace


def send(*arguments: int) -> tuple[int, int, int, int]:
    """The process, the key of its loopback device, and how many datagrams its kernel received and sent."""
    process = subprocess.Popen(workload("datagrams", *arguments), stdout=subprocess.PIPE, text=True)
    said = process.communicate()[0].split()
    assert process.returncode == 0
    namespace, received, sent = map(int, said)
    return process.pid, namespace_key(namespace) << 32 | LOOPBACK, received, sent


def of(taken: Taken, device: int, name: str) -> Records:
    records = taken.records(key=device)
    return records[[n == name for n in taken.names(records)]]


def test_each_datagram_is_sent_and_received_with_its_size_on_its_device() -> None:
    with taking("packets", **ALL) as taken:
        pid, device, received, sent = send(100, 1234)
        names = Counter(taken.names(taken.records(key=device)))
        out, into = of(taken, device, "udp_sent"), of(taken, device, "udp_received")
        assert adds_up(taken.counts())
    assert sent == received == 100
    assert names["udp_sent"] == names["udp_received"] == 100
    assert not names["tcp_sent"]
    for records in (out, into):
        assert set(records["size_bytes"].tolist()) == {1234 + HEADERS}
        assert set(records["value"].tolist()) == {1}
        assert set(records["weight"].tolist()) == {1}
    assert set(out["pid"].tolist()) == {pid}


def test_what_the_kernel_handles_as_one_and_cuts_up_later_counts_as_many() -> None:
    with taking("packets", **ALL) as taken:
        _, device, received, _ = send(100, 500, 10)
        out = of(taken, device, "udp_sent")
    assert received == 100
    assert len(out) == 10
    assert int(out["value"].sum()) == 100
    assert set(out["size_bytes"].tolist()) == {10 * 500 + HEADERS}


def test_many_packets_are_sampled_and_their_weights_tell_how_many_there_were() -> None:
    with taking("packets") as taken:
        _, device, received, sent = send(40_000, 100)
        out, into = of(taken, device, "udp_sent"), of(taken, device, "udp_received")
        counts = taken.counts()
    assert sent == received == 40_000
    for records in (out, into):
        assert len(records) < 20_000
        assert abs(int(records["weight"].sum()) - 40_000) < 4_000
    assert counts["sampled_out"] > 40_000
    assert adds_up(counts)


def test_only_the_kinds_and_the_sender_that_were_asked_for_are_kept() -> None:
    with taking("packets", **ALL, **{"EVENT_ASKED(nr)": "((nr)==2)"}) as taken:
        _, device, _, _ = send(20, 50)
        names = Counter(taken.names(taken.records(key=device)))
        counts = taken.counts()
    assert names == {"udp_sent": 20}
    assert counts["filtered"] >= 20
    assert adds_up(counts)
