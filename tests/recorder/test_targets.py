"""Who belongs to a target, from made-up processes and side-band records."""

from __future__ import annotations

import os

import pytest

from sessions import batch
from tracelab.errors import NoSuchProcess, UsageError
from tracelab.recorder import host
from tracelab.recorder.host import Process
from tracelab.recorder.sideband import Exit, Fork, Record, Rename
from tracelab.recorder.targets import Targets, Wanted

ME = os.getpid()
A = "3f" * 32


def process(pid: int, comm: str = "sh", ppid: int = 1, start: int = 0) -> Process:
    return Process(pid, comm, ppid, 0, 0, 0, 1, 0, 0, start)


def fork(pid: int, parent: int) -> Fork:
    return Fork(0, pid, pid, parent, parent)


def execed(pid: int, comm: str) -> Rename:
    return Rename(0, pid, pid, comm, True)


@pytest.mark.parametrize(
    ("asked", "comm", "meant"),
    [
        ("tracee", "tracee", True),
        ("tracee", "tracee-rules", False),
        ("tracee*", "tracee-rules", True),
        ("a-very-long-program-name", "a-very-long-pro", True),  # the kernel keeps 15 characters
        ("a-very-long-program-name*", "a-very-long-pro", True),
    ],
)
def test_a_name_means_processes_of_that_name(asked: str, comm: str, meant: bool) -> None:
    assert Wanted.parse(asked).named(comm) is meant


@pytest.mark.parametrize(
    ("asked", "groups", "container", "meant"),
    [
        ("/a.slice", ["/a.slice"], None, True),
        ("/a.slice", ["/", "/a.slice/b.service"], None, True),
        ("/a.slice/", ["/a.slicer"], None, False),
        ("/", ["/a"], None, True),
        (A[:12], ["/docker/" + A], A, True),
        (A, ["/docker/" + A], A, True),
        (A[:12], ["/"], None, False),
    ],
)
def test_a_group_or_container_means_processes_inside(
    asked: str, groups: list[str], container: str | None, meant: bool
) -> None:
    assert Wanted.parse(asked).inside(groups, container) is meant


@pytest.mark.parametrize("asked", ["", "*", "/etc/passwd", "a\0b"])
def test_what_cannot_be_a_target_is_refused(asked: str) -> None:
    with pytest.raises(UsageError, match="--target"):
        Targets([asked])


def test_a_process_that_is_not_there_is_refused() -> None:
    with pytest.raises(NoSuchProcess, match="--target 4194305"):  # one more than the largest that Linux gives
        Targets(["4194305"])


def test_matches_that_appear_later_are_followed() -> None:
    targets = Targets(["tracee", "falco*"])
    assert targets.look([process(10), process(11, "tracee")]) == {11}
    assert targets.look([process(10), process(11, "tracee"), process(12, "falco-a")]) == {11, 12}
    assert [t["pids"] for t in targets.describe()] == [[11], [12]]


def test_children_of_a_pid_are_followed_however_deep() -> None:
    targets = Targets([str(ME)])
    family = [process(ME), process(20, ppid=ME), process(21, ppid=20), process(22, ppid=1)]
    assert targets.look(family) == {ME, 20, 21}


def test_children_of_a_name_must_bear_it() -> None:
    targets = Targets(["bash"])
    assert targets.look([process(20, "bash"), process(21, "ls", ppid=20)]) == {20}


def test_a_grandchild_whose_parent_is_gone_is_known_from_the_side_band() -> None:
    targets = Targets([str(ME)])
    targets.look([process(ME)])
    targets.follow([fork(30, ME), fork(31, 30), Exit(0, 30, 30)])
    assert targets.look([process(ME), process(31, ppid=1)]) == {ME, 31}
    assert targets.describe()[0]["pids"] == sorted([ME, 30, 31])


def test_children_of_a_parent_that_ended_before_the_side_band_told_of_them_are_known() -> None:
    targets = Targets([str(ME)])
    targets.look([process(ME)])
    assert targets.look([]) == set()
    targets.follow([fork(33, ME), Exit(0, ME, ME), Exit(0, 33, 33)])
    assert targets.describe()[0]["pids"] == sorted([ME, 33])


def test_a_process_too_short_lived_to_be_seen_is_known_by_the_name_it_executed() -> None:
    targets = Targets(["gzip"])
    targets.look([process(1)])
    targets.follow([fork(40, 1), execed(40, "gzip"), Exit(0, 40, 40)])
    assert targets.describe()[0]["pids"] == [40]


def test_a_child_that_becomes_another_program_was_never_the_target() -> None:
    targets = Targets(["bash"])
    targets.look([process(50, "bash")])
    records: list[Record] = [fork(51, 50), execed(51, "ls"), fork(52, 50)]
    targets.follow(records)
    assert targets.describe()[0]["pids"] == [50, 52]


def test_a_pid_that_came_again_is_another_process() -> None:
    targets = Targets(["tracee"])
    assert targets.look([process(60, "tracee", start=1)]) == {60}
    assert targets.look([process(60, "vi", start=2)]) == set()


def test_who_ended_while_the_side_band_was_full_leaves_in_the_end() -> None:
    targets = Targets(["bash"], patience_s=0)
    targets.look([process(70, "bash")])
    targets.follow([fork(71, 70)])
    assert targets.look([process(70, "bash")]) == {70}
    assert targets.look([process(70, "bash"), process(71, "vi")]) == {70}


def test_a_process_that_is_moved_into_the_group_joins_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = {80: ["/elsewhere"]}
    monkeypatch.setattr(host, "cgroups", lambda pid: groups[pid])
    targets = Targets(["/mine"])
    assert targets.look([process(80)]) == set()
    groups[80] = ["/mine/below"]
    assert {80} in [targets.look([process(80)]) for _ in range(10)]


def test_who_is_too_short_lived_to_be_looked_at_is_in_the_group_that_the_tasks_tell() -> None:
    targets = Targets(["/mine", A[:12]])
    tasks = """
        tid  change  comm   cgroup       container
        81   fork    sh     /mine/below  -
        82   exec    true   /elsewhere   -
        83   exec    true   /docker      3f3f3f3f3f3f3f3f
        84   exit    true   /mine        -
    """
    targets.see("tasks", batch("tasks", tasks))
    targets.follow([Exit(0, 81, 81)])
    assert [(t["pids"], t["comm"]) for t in targets.describe()] == [([81], None), ([83], "true")]
    assert targets.look([process(83, "true")]) == {83}


def test_programs_belong_to_the_target_whose_processes_ever_held_them() -> None:
    targets = Targets(["tracee", "falco"])
    targets.look([process(90, "tracee"), process(91, "falco")])
    progs = """
        prog_id  owner_pids
        1        90
        2        90,91
        3        7
        4        -
    """
    targets.see("bpf_progs", batch("bpf_progs", progs))
    targets.see("bpf_maps", batch("bpf_maps", "map_id\n1"))
    targets.see("bpf_progs", batch("bpf_progs", "prog_id owner_pids\n3 91"))
    assert [(t["asked"], t["prog_ids"]) for t in targets.describe()] == [
        ("tracee", [1, 2]),
        ("falco", [2, 3]),
    ]


def test_without_targets_nothing_is_looked_at() -> None:
    targets = Targets(())
    assert not targets
    assert targets.look([process(1)]) == set()
    assert targets.describe() == []
