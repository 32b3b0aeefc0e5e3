"""Where control groups are mounted, from made-up mounts, and what is said of those that are not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracelab.errors import CannotRecord, NoSuchGroup, UsageError
from tracelab.recorder.cgroups import cgroup_id, clean_path, unified

HYBRID = """\
24 1 0:22 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
25 24 0:23 / /sys/fs/cgroup/memory rw,relatime shared:5 - cgroup cgroup rw,memory
26 24 0:24 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
27 24 0:24 /a/b /mnt/my\\040group rw,relatime - cgroup2 cgroup2 rw
"""


@pytest.fixture
def hybrid(tmp_path: Path) -> str:
    (tmp_path / "mountinfo").write_text(HYBRID)
    return str(tmp_path / "mountinfo")


def test_of_several_mounts_the_one_of_all_groups_counts(hybrid: str) -> None:
    found = unified(hybrid)
    assert (found.mount, found.root, found.level) == (Path("/sys/fs/cgroup/unified"), "/", 0)


def test_groups_in_a_mount_of_a_part_lie_as_deep_as_that_part(tmp_path: Path) -> None:
    (tmp_path / "part").write_text(HYBRID.splitlines()[-1])
    assert unified(str(tmp_path / "part")) == (Path("/mnt/my group"), "/a/b", 2)


def test_without_version_2_the_error_tells_how_to_mount_it(tmp_path: Path) -> None:
    (tmp_path / "v1").write_text(HYBRID.splitlines()[1])
    with pytest.raises(CannotRecord, match="mount -t cgroup2"):
        unified(str(tmp_path / "v1"))


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ("/sys/fs/cgroup/unified/system.slice", "/system.slice"),
        ("/sys/fs/cgroup/memory/docker/1/", "/docker/1"),
        ("/sys/fs/cgroup/unified", "/"),
        ("/mnt/my group/c", "/c"),
        ("/system.slice/./a.service", "/system.slice/a.service"),
        ("/", "/"),
    ],
)
def test_a_path_is_below_the_root_of_its_hierarchy(hybrid: str, asked: str, path: str) -> None:
    assert clean_path(asked, hybrid) == path


def test_a_group_that_is_not_there_is_an_error(request: pytest.FixtureRequest) -> None:
    try:
        unified()
    except CannotRecord:
        pytest.skip("control groups version 2 are not mounted; mount -t cgroup2 none /sys/fs/cgroup/unified")
    with pytest.raises(NoSuchGroup, match="no control group /no/such/group"):
        cgroup_id("/no/such/group")
    with pytest.raises(NoSuchGroup, match="no control group or container 'no-such-container'"):
        cgroup_id("no-such-container")
    with pytest.raises(UsageError, match="is a file"):
        cgroup_id(str(request.path))
