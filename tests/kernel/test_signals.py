"""Signals of known kinds between two processes."""

from __future__ import annotations

import subprocess

from probe_records import Records, Taken, adds_up, taking, until
from recordings import workload
from tracelab.recorder.filters import numbers_asked

REALTIME = 35  # SIGRTMIN + 1 of the C library
SENT = ["SIGUSR1"] * 3 + ["SIGHUP", "realtime", "SIGUSR2", "SIGUSR2", "SIGTERM"]
NUMBERS = [10, 10, 10, 1, REALTIME, 12, 12, 15]
UNKNOWN = 2**64 - 1


def exchanged() -> tuple[int, int, int]:
    """Sender, receiver, and ns for which the blocked signal waited at least."""
    said = subprocess.run(workload("signals"), capture_output=True, check=True, text=True).stdout
    sender, receiver, waited_ns = map(int, said.split())
    return sender, receiver, waited_ns


def received(taken: Taken, receiver: int) -> Records:
    until(lambda: "SIGTERM" in taken.names(taken.records(pid=receiver)), "the receiver ends")
    return taken.records(pid=receiver)


def test_who_sends_which_signal_to_whom_is_told_and_what_came_of_it() -> None:
    with taking("signals") as taken:
        sender, receiver, _ = exchanged()
        records = taken.records(pid=sender)
        (ended,) = taken.records(pid=receiver, value=17)
        assert adds_up(taken.counts())
    sent = records[records["key"] == receiver]
    assert taken.names(sent) == SENT
    assert sent["value"].tolist() == NUMBERS
    assert sent["ret"].tolist() == [
        0,
        0,
        0,
        1,
        0,
        0,
        2,
        0,
    ]  # SIGHUP is ignored, the second SIGUSR2 waits already
    assert ended["key"] == sender  # SIGCHLD


def test_a_signal_that_is_received_tells_its_sender_and_who_deals_with_it() -> None:
    with taking("signal_delays") as taken:
        sender, receiver, _ = exchanged()
        records = received(taken, receiver)
        assert adds_up(taken.counts())
    assert taken.names(records) == ["SIGUSR1"] * 3 + ["realtime", "SIGUSR2", "SIGTERM"]
    assert records["ret"].tolist() == [1, 1, 1, 1, 1, 0]
    assert records["key"].tolist() == [sender] * 6
    assert UNKNOWN not in records["value"].tolist()


def test_the_delay_of_a_blocked_signal_is_how_long_it_was_blocked() -> None:
    with taking("signal_delays") as taken:
        _, receiver, waited_ns = exchanged()
        records = received(taken, receiver)
    blocked = int(records["value"][taken.names(records).index("SIGUSR2")])
    assert blocked > waited_ns >= 50_000_000


def test_a_signal_that_was_sent_before_has_no_delay_and_no_sender() -> None:
    script = (
        "import os, signal; signal.signal(10, lambda *_: None); signal.pthread_sigmask(signal.SIG_BLOCK, {10});"
        "os.kill(os.getpid(), 10); print(flush=True); input(); signal.pthread_sigmask(signal.SIG_UNBLOCK, {10})"
    )
    with subprocess.Popen(
        ["python3", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with taking("signal_delays") as taken:
            process.communicate(b"\n")
            (record,) = taken.records(pid=process.pid, number=10)
            assert adds_up(taken.counts())
    assert record["value"] == record["key"] == UNKNOWN
    assert record["ret"] == 1


def test_signals_can_be_asked_for_by_name() -> None:
    with taking("signals", **{"EVENT_ASKED(nr)": numbers_asked([1, 32])}) as taken:
        sender, receiver, _ = exchanged()
        records = taken.records(pid=sender, key=receiver)
        assert adds_up(taken.counts())
    assert taken.names(records) == ["SIGHUP", "realtime"]
