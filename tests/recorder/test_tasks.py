"""Containers in table tasks, from made-up control groups and side-band records."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracelab.recorder import host
from tracelab.recorder.containers import Containers
from tracelab.recorder.sideband import Exit, Fork, Record, Rename
from tracelab.recorder.tasks import TaskTable

ROOT = Path(__file__).parents[1] / "data" / "containers"
CACHE = "ae49d5390ba53eda5f65d62a87e51fa26a257457037bcf6e7e0c2ac16d59bb0e"
GROUPS = {10: [f"/docker/{CACHE}"], 20: ["/user.slice"]}


@pytest.fixture
def followed(monkeypatch: pytest.MonkeyPatch) -> TaskTable:
    """A table that has seen process 10 in container cache, and 20 in none; all others are gone when looked at."""
    monkeypatch.setattr(host, "cgroups", lambda pid: GROUPS.get(pid, []))
    monkeypatch.setattr(host, "executable", lambda pid: f"/bin/{pid}" if pid in GROUPS else None)
    table = TaskTable(Containers(ROOT))
    table.follow([Rename(1, pid, pid, "sh", True) for pid in GROUPS])
    return table


def rows(table: TaskTable, *records: Record) -> list[tuple[object, ...]]:
    """What records give: change, pid, container, container_name, cgroup."""
    found = table.follow(records).to_pylist()
    return [(r["change"], r["pid"], r["container"], r["container_name"], r["cgroup"]) for r in found]


def test_a_process_in_a_container_has_its_id_and_name(followed: TaskTable) -> None:
    assert rows(followed, Rename(2, 10, 10, "sh", True)) == [
        ("exec", 10, CACHE, "cache", f"/docker/{CACHE}"),
    ]
    assert rows(followed, Rename(2, 20, 20, "sh", True)) == [("exec", 20, None, None, "/user.slice")]


def test_a_process_that_is_gone_when_it_is_looked_at_is_where_its_parent_was(followed: TaskTable) -> None:
    inside = (CACHE, "cache", f"/docker/{CACHE}")
    assert rows(
        followed,
        Fork(2, 11, 11, 10, 10),
        Rename(3, 11, 11, "true", True),
        Fork(4, 12, 12, 11, 11),
        Exit(5, 11, 11),
        Exit(6, 12, 12),
    ) == [
        ("fork", 11, *inside),
        ("exec", 11, *inside),
        ("fork", 12, *inside),
        ("exit", 11, *inside),
        ("exit", 12, *inside),
    ]


def test_a_process_that_a_runtime_moved_into_a_container_before_it_executed_is_inside(
    followed: TaskTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    fork = rows(followed, Fork(2, 21, 21, 20, 20))
    monkeypatch.setattr(host, "cgroups", lambda pid: [f"/docker/{CACHE}"])
    assert fork == [("fork", 21, None, None, "/user.slice")]
    assert rows(followed, Rename(3, 21, 21, "redis", True)) == [
        ("exec", 21, CACHE, "cache", f"/docker/{CACHE}")
    ]


def test_a_process_that_was_glanced_at_is_where_it_was_then_though_it_is_gone_now(
    followed: TaskTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows(followed, Fork(2, 21, 21, 20, 20))
    with monkeypatch.context() as there:
        there.setattr(host, "cgroups", lambda pid: [f"/docker/{CACHE}"])
        there.setattr(host, "executable", lambda pid: "/bin/redis")
        followed.glance(21)
    found = followed.follow([Rename(3, 21, 21, "redis", True), Exit(4, 21, 21)]).to_pylist()
    assert {(r["container_name"], r["exe"]) for r in found} == {("cache", "/bin/redis")}
    assert rows(followed, Fork(5, 21, 21, 20, 20), Rename(6, 21, 21, "ls", True))[1] == (
        "exec",
        21,
        None,
        None,
        "/user.slice",
    )  # another process with that number


def test_an_exit_code_is_not_made_up(followed: TaskTable) -> None:
    assert followed.follow([Exit(2, 10, 10)])["exit_code"].to_pylist() == [None]
