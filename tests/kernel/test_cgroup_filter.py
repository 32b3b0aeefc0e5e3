"""Ids of control groups, as a real eBPF program in the kernel has them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from groups import control_group, entering
from tracelab.errors import NoSuchGroup, UsageError
from tracelab.recorder.cgroups import cgroup_id, unified
from tracelab.recorder.loader import import_bcc, own_headers

A, B = "3f" * 32, "3f" * 31 + "00"
COUNT_BY_GROUP = r"""
static u64 (*ancestor_id)(int level) = (void *)123; /* BPF_FUNC_get_current_ancestor_cgroup_id */

BPF_HASH(seen, u64, u64, 4096); /* by group: that which runs, counted only inside of GROUP */

RAW_TRACEPOINT_PROBE(sys_enter)
{
    if (ctx->args[1] != 110 || ancestor_id(LEVEL) != GROUP) /* getppid */
        return 0;
    u64 group = bpf_get_current_cgroup_id();
    u64 zero = 0, *n = seen.lookup_or_try_init(&group, &zero);
    if (n)
        __sync_fetch_and_add(n, 1);
    return 0;
}
"""
CALLS = "import os\nfor _ in range({}): os.getppid()"


@contextmanager
def counting(group: tuple[int, int]) -> Iterator[Any]:
    """A program that counts getppid calls inside of a group, by the innermost group."""
    number, level = group
    with own_headers():
        program = import_bcc().BPF(
            text=COUNT_BY_GROUP.encode(), cflags=["-w", f"-DGROUP={number}ULL", f"-DLEVEL={level}"]
        )
    try:
        yield program[b"seen"]
    finally:
        program.cleanup()


def call(group: Path, times: int) -> None:
    """Call getppid so many times in a group."""
    subprocess.run(
        [sys.executable, "-c", CALLS.format(times)], preexec_fn=entering(group), check=True, timeout=60
    )


@pytest.mark.skipif(
    os.uname().machine != "x86_64", reason="getppid is number 110 on x86_64 only; run it there"
)
def test_a_program_that_filters_by_id_and_level_sees_the_group_and_those_below() -> None:
    with control_group("tracelab-test/inner/leaf") as leaf:
        outer, inner, beside = leaf.parents[1], leaf.parent, leaf.parents[1] / "beside"
        beside.mkdir()
        try:
            group = cgroup_id("/tracelab-test/inner")
            assert group == (inner.stat().st_ino, 2)
            with counting(group) as seen:
                call(inner, 20)
                call(leaf, 300)
                call(beside, 4000)
                call(outer, 50000)
                found = {key.value: leaf.value for key, leaf in seen.items()}
            assert found == {inner.stat().st_ino: 20, cgroup_id("/tracelab-test/inner/leaf")[0]: 300}
        finally:
            beside.rmdir()


def test_a_group_is_found_by_path_mount_container_id_or_its_begin() -> None:
    with control_group(f"tracelab-test/docker-{A}.scope/init") as init:
        scope, mount = init.parent, unified().mount
        expected = (scope.stat().st_ino, 2)
        relative = "/" + str(scope.relative_to(mount))
        for asked in (relative, relative + "/", relative[1:], str(scope), A, A[:12]):
            assert cgroup_id(asked) == expected, asked


def test_several_containers_that_begin_alike_are_an_error_and_near_names_are_told() -> None:
    with control_group(f"tracelab-test/docker-{A}.scope"), control_group(f"tracelab-test/docker-{B}.scope"):
        with pytest.raises(UsageError, match="2 containers"):
            cgroup_id(A[:12])
        assert cgroup_id(A)[1] == 2
        with pytest.raises(NoSuchGroup, match=r"near are .*/tracelab-test"):
            cgroup_id("/tracelab-tests")
        with pytest.raises(NoSuchGroup, match=r"near are .*/tracelab-test"):
            cgroup_id("tracelab-tset")


def test_inside_of_a_namespace_levels_still_count_from_the_real_root() -> None:
    code = (
        "import sys, pathlib; sys.path[:0] = sys.argv[2:];"
        "from tracelab.recorder import cgroups; print(*cgroups.cgroup_id(sys.argv[1]))"
    )
    with control_group("tracelab-test/inner/leaf") as leaf:
        for asked in (str(leaf), "/tracelab-test/inner/leaf"):
            output = subprocess.run(
                ["unshare", "--cgroup", sys.executable, "-c", code, asked, *sys.path],
                preexec_fn=entering(leaf.parent),
                capture_output=True,
                check=True,
                text=True,
                timeout=60,
            ).stdout
            assert output.split() == [str(leaf.stat().st_ino), "3"]


def test_a_group_of_version_1_is_refused_with_what_to_do(tmp_path: Path) -> None:
    folder = Path("/sys/fs/cgroup/pids/tracelab-test-v1")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip(
            "control groups version 1 are not mounted in /sys/fs/cgroup/pids; run on a hybrid machine"
        )
    try:
        with pytest.raises(NoSuchGroup, match=r"version 1 .*--pid"):
            cgroup_id("/tracelab-test-v1")
    finally:
        folder.rmdir()
