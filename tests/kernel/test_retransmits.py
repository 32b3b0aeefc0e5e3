"""What TCP sends again, against what the kernel counts of it, over links that lose it."""

from __future__ import annotations

import subprocess
from collections import Counter
from dataclasses import dataclass

import pytest

from networks import needs_links
from probe_records import Records, adds_up, in_sight, taking
from recordings import workload
from tracelab.recorder.addresses import address_texts

pytestmark = needs_links


@dataclass(frozen=True)
class Lost:
    """What the workload says of itself, and what the probe took of it."""

    pid: int
    in_namespace: int  #: segments sent again
    of_connection: int
    in_bytes: int
    again: Records  #: what this end of the link sent again
    why: list[str]
    counts: dict[str, int]


def lose(how: str, pid_asked: str = "1") -> Lost:
    """Lose segments, all of them in sight of the probe."""

    def take() -> Lost:
        with taking("retransmits", **{"PID_ASKED(pid)": pid_asked}) as taken:
            process = subprocess.Popen(workload("loses", how), stdout=subprocess.PIPE, text=True)
            in_namespace, of_connection, in_bytes = map(int, process.communicate()[0].split())
            assert process.returncode == 0
            records = taken.records()
            again = records[[text.startswith("10.9.0.1:") for text in address_texts(records["local"])]]
            why, counts = taken.names(again), taken.counts()
        return Lost(process.pid, in_namespace, of_connection, in_bytes, again, why, counts)

    return in_sight(take, lambda lost: lost.again["value"].sum() + lost.counts["filtered"] >= lost.in_namespace)


@pytest.mark.parametrize("how", ["syn", "data", "queue"])
def test_segments_and_bytes_are_those_that_the_kernel_counts_and_the_reason_is_told(how: str) -> None:
    lost = lose(how)
    again = lost.again
    assert int(again["value"].sum()) == lost.in_namespace > 0
    why = Counter(lost.why)
    if how == "syn":
        assert set(why) == {"syn"}
    elif how == "data":  # nothing comes back for a second
        assert why["timeout"] >= 2
        assert set(why) <= {"timeout", "probe"}
    else:  # what others overtake
        assert why["fast"] > 0.9 * why.total()
    assert {text.rpartition(":")[0] for text in address_texts(again["peer"])} == {"10.9.0.2"}
    assert len(set(again["key"].tolist())) == 1
    assert set(again["pid"].tolist()) == {lost.pid}
    assert adds_up(lost.counts)
    if how != "syn":  # after its timeout a socket has forgotten
        assert lost.in_namespace == lost.of_connection
        assert int(again["size_bytes"].sum()) == lost.in_bytes


def test_an_answer_to_a_connection_that_is_lost_is_sent_again_by_the_listener() -> None:
    lost = lose("synack")
    assert set(lost.why) == {"synack"}
    assert len(lost.again) == lost.in_namespace > 0
    assert set(address_texts(lost.again["local"])) == {"10.9.0.1:81"}


def test_only_what_a_process_sends_again_is_kept_of_it() -> None:
    lost = lose("data", pid_asked="((pid)==1)")
    assert len(lost.again) == 0
    assert lost.counts["filtered"] >= lost.in_namespace
    assert adds_up(lost.counts)
