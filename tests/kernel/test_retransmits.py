"""What TCP sends again, against what the kernel counts of it, over links that lose it."""

from __future__ import annotations

import subprocess
from collections import Counter

import pytest

from networks import needs_links
from probe_records import Records, Taken, adds_up, taking
from recordings import workload
from tracelab.recorder.addresses import address_texts

pytestmark = needs_links


def lose(how: str) -> tuple[int, int, int, int]:
    """The process; segments sent again in its namespace, and of the connection; bytes of that."""
    process = subprocess.Popen(workload("loses", how), stdout=subprocess.PIPE, text=True)
    said = process.communicate()[0].split()
    assert process.returncode == 0
    in_namespace, of_connection, in_bytes = map(int, said)
    return process.pid, in_namespace, of_connection, in_bytes


def on_the_link(taken: Taken) -> Records:
    """What this end of the link sent again."""
    records = taken.records()
    return records[[text.startswith("10.9.0.1:") for text in address_texts(records["local"])]]


@pytest.mark.parametrize("how", ["syn", "data", "queue"])
def test_segments_and_bytes_are_those_that_the_kernel_counts_and_the_reason_is_told(how: str) -> None:
    with taking("retransmits") as taken:
        pid, in_namespace, of_connection, in_bytes = lose(how)
        records = on_the_link(taken)
        counts = taken.counts()
    assert int(records["value"].sum()) == in_namespace > 0
    why = Counter(taken.names(records))
    if how == "syn":
        assert set(why) == {"syn"}
    elif how == "data":  # nothing comes back for a second
        assert why["timeout"] >= 2
        assert set(why) <= {"timeout", "probe"}
    else:  # what others overtake
        assert why["fast"] > 0.9 * why.total()
    assert {text.rpartition(":")[0] for text in address_texts(records["peer"])} == {"10.9.0.2"}
    assert len(set(records["key"].tolist())) == 1
    assert set(records["pid"].tolist()) == {pid}
    assert adds_up(counts)
    if how != "syn":  # after its timeout a socket has forgotten
        assert in_namespace == of_connection
        assert int(records["size_bytes"].sum()) == in_bytes


def test_an_answer_to_a_connection_that_is_lost_is_sent_again_by_the_listener() -> None:
    with taking("retransmits") as taken:
        _, in_namespace, _, _ = lose("synack")
        again = on_the_link(taken)
    assert set(taken.names(again)) == {"synack"}
    assert len(again) == in_namespace > 0
    assert set(address_texts(again["local"])) == {"10.9.0.1:81"}


def test_only_what_a_process_sends_again_is_kept_of_it() -> None:
    with taking("retransmits", **{"PID_ASKED(pid)": "((pid)==1)"}) as taken:
        _, in_namespace, _, _ = lose("data")
        counts = taken.counts()
        assert len(on_the_link(taken)) == 0
    assert counts["filtered"] >= in_namespace
    assert adds_up(counts)
