"""Containers in table tasks, from real control groups, mount namespaces and processes."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from groups import control_group, entering
from probe_records import until
from recordings import rows
from tracelab.recorder.containers import Containers
from tracelab.recorder.options import Options
from tracelab.recorder.recording import Recording
from tracelab.recorder.sideband import SideBand
from tracelab.recorder.tasks import TaskTable

CACHE = "ae49d5390ba53eda5f65d62a87e51fa26a257457037bcf6e7e0c2ac16d59bb0e"  # in tests/data/containers
OTHER = "3f" * 32
ROOT = Path(__file__).parents[1] / "data" / "containers"
GROUP = f"tracelab-test/docker-{CACHE}.scope"
FIVE_SHORT = "read go; for i in 1 2 3 4 5; do /bin/true; done"


@contextmanager
def contained(group: Path, script: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A shell that runs a script in a control group and a mount namespace, as a runtime starts it; it has begun."""
    process = subprocess.Popen(
        ["unshare", "--mount", "--uts", "/bin/sh", "-c", script],
        preexec_fn=entering(group),
        env={"PATH": os.environ["PATH"], **environment},
        stdin=subprocess.PIPE,
    )
    try:
        while Path(f"/proc/{process.pid}/comm").read_text() != "sh\n":
            time.sleep(0.01)
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def sideband() -> Iterator[SideBand]:
    opened = SideBand()
    yield opened
    opened.close()


def test_a_process_in_a_group_named_like_a_docker_container_has_its_id_and_name() -> None:
    table = TaskTable(Containers(ROOT))
    with control_group(GROUP) as group, contained(group, "read go; true") as process:
        found = [row for row in table.first_sight(0).to_pylist() if row["pid"] == process.pid]
    assert [(row["container"], row["container_name"], row["cgroup"]) for row in found] == [
        (CACHE, "cache", f"/{GROUP}")
    ]


def test_a_process_that_starts_in_a_container_is_there_from_its_exec_on(sideband: SideBand) -> None:
    table = TaskTable(Containers(ROOT))
    table.first_sight(0)
    with control_group(GROUP) as group, contained(group, "read go; true") as process:
        found = [row for row in table.follow(sideband.read()).to_pylist() if row["pid"] == process.pid]
    assert {(row["container"], row["container_name"]) for row in found if row["change"] == "exec"} == {
        (CACHE, "cache")
    }


def test_children_that_are_gone_before_they_are_looked_at_are_in_the_container_too(
    sideband: SideBand,
) -> None:
    table = TaskTable(Containers(ROOT))
    with control_group(GROUP) as group, contained(group, FIVE_SHORT) as process:
        table.first_sight(0)
        sideband.read()
        process.communicate(b"go\n", timeout=30)
    records = sideband.read()  # of processes none of which is there any more
    found = [row for row in table.follow(records).to_pylist() if row["comm"] == "true"]
    assert len([row for row in found if row["change"] == "exec"]) == 5
    assert {(row["container"], row["container_name"]) for row in found} == {(CACHE, "cache")}


def test_a_recording_tells_containers_and_the_name_that_their_environment_gives(tmp_path: Path) -> None:
    with control_group(f"tracelab-test/{OTHER}") as group:
        with Recording(tmp_path / "s", Options(events="oncpu")) as recording:
            with contained(group, FIVE_SHORT, CONTAINER_NAME="web") as process:
                until(
                    lambda: any(row["container"] == OTHER for row in rows(recording, "tasks")),
                    "it is not told of",
                )
                process.communicate(b"go\n", timeout=30)
    tasks = [row for row in rows(recording, "tasks") if row["container"] == OTHER]
    inside = {row["pid"] for row in tasks}
    assert process.pid in inside
    assert len(inside) == 6
    assert {row["container_name"] for row in tasks if row["change"] != "fork"} >= {"web"}
    assert {row["container"] for row in rows(recording, "tasks", pid=os.getpid())} == {None}
