"""Control groups by path, container or name, as eBPF programs can ask for them.

A program asks for the id of the group that runs, or of its ancestor at some level. The id is the inode number of the
group's directory, and both are of version 2 only: groups of version 1 have none.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tracelab.errors import CannotRecord, NoSuchGroup, UsageError
from tracelab.recorder.containers import Containers, container_id

MAX_GROUPS = 50_000  #: that are looked at in the search for a container
_INITIAL_NAMESPACE = 0xEFFFFFFB  #: inode of the first control group namespace, PROC_CGROUP_INIT_INO
_OCTAL = re.compile(r"\\([0-7]{3})")


class Hierarchy(NamedTuple):
    """Where control groups are mounted."""

    mount: Path
    root: str  #: the group that is mounted there; / for all of them
    level: int  #: of that group, 0 for the root of all


def cgroup_id(asked: str, containers: Containers | None = None) -> tuple[int, int]:
    """The id of a control group and its level below the root, as `bpf_get_current_ancestor_cgroup_id(level)` has them.

    `asked` is the path of a group, with or without that of the mount, the id of a container or the begin of it, or
    its name.

    Raises CannotRecord where control groups version 2 are not mounted, NoSuchGroup, with names that are near, when
    there is no such group, and UsageError when several containers are meant.
    """
    hierarchy = unified()
    group = _group_of_path(hierarchy, asked)
    if group is None:
        group = _group_of_container(hierarchy, asked, containers or Containers())
    relative = PurePosixPath(group).relative_to("/").parts
    return (hierarchy.mount / "/".join(relative)).stat().st_ino, hierarchy.level + len(relative)


def unified(mountinfo: str = "/proc/self/mountinfo") -> Hierarchy:
    """Where version 2 is mounted; raises CannotRecord when it is not."""
    mounts = [(root, mount) for root, mount, kind, _ in _mounts(mountinfo) if kind == "cgroup2"]
    if not mounts:
        raise CannotRecord(
            "control groups version 2 are not mounted, and eBPF programs know no others; mount them with "
            "`mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified`"
        )
    root, mount = min(mounts, key=lambda m: (len(PurePosixPath(m[0]).parts), len(m[1])))
    steps = [-1 if part == ".." else 1 for part in root.split("/") if part]
    return Hierarchy(Path(mount), root, _level_of_namespace() + sum(steps))


def clean_path(asked: str, mountinfo: str = "/proc/self/mountinfo") -> str:
    """The path of a group below its hierarchy's root, from one that may begin with the mount of any hierarchy.

    >>> clean_path("/system.slice//cron.service/")
    '/system.slice/cron.service'
    """
    path = "/" + "/".join(part for part in asked.split("/") if part not in ("", "."))
    mounts = [mount for _, mount, kind, _ in _mounts(mountinfo) if kind in ("cgroup", "cgroup2")]
    for mount in sorted(mounts, key=len, reverse=True):
        if path == mount or path.startswith(mount + "/"):
            return path[len(mount) :] or "/"
    return path


def _group_of_path(hierarchy: Hierarchy, asked: str) -> str | None:
    """The path below the mount of a group that is asked for by path; None for what is no path."""
    path = clean_path(asked)
    if ".." not in path.split("/") and (hierarchy.mount / path[1:] / "cgroup.procs").is_file():
        return path
    if "/" not in asked:
        return None
    for _, mount, kind, options in _mounts("/proc/self/mountinfo"):
        if kind == "cgroup" and Path(mount + path, "cgroup.procs").is_file():
            raise NoSuchGroup(
                f"control group {path} is one of version 1 ({options}), and eBPF programs know only those of "
                f"version 2, in {hierarchy.mount}; give the processes with --pid instead"
            )
    if Path(asked).is_file():
        raise UsageError(f"{asked} is a file, not a control group; a process is named by its name or pid")
    raise NoSuchGroup(_none(f"control group {path}", path, [p for p, _ in _groups(hierarchy)], hierarchy))


def _group_of_container(hierarchy: Hierarchy, asked: str, containers: Containers) -> str:
    found: dict[str, str] = {}  # the outermost group of each container
    for path, _ in _groups(hierarchy):
        number = containers.id_of([path]) or container_id(path)
        if number is not None and number not in found:
            found[number] = path
    names = {number: containers.name_of(number, [path]) or number for number, path in found.items()}
    meant = [n for n, name in names.items() if asked in (n, name, name.rpartition("/")[2])]
    if not meant and len(asked) >= 4:
        meant = [n for n in found if n.startswith(asked)]
    if len(meant) > 1:
        several = ", ".join(f"{names[n]} ({n[:12]})" for n in sorted(meant)[:6])
        raise UsageError(f"{asked!r} may be one of {len(meant)} containers: {several}; give more of the id")
    if not meant:
        there = [*names.values(), *found, *(path for path, _ in _groups(hierarchy))]
        raise NoSuchGroup(_none(f"control group or container {asked!r}", asked, there, hierarchy))
    return found[meant[0]]


def _none(what: str, asked: str, there: list[str], hierarchy: Hierarchy) -> str:
    near = difflib.get_close_matches(asked, there, 3, 0.5)
    last = {PurePosixPath(path).name: path for path in there}
    near += [last[n] for n in difflib.get_close_matches(PurePosixPath(asked).name, last, 3, 0.6)]
    hint = (
        f"near are {', '.join(dict.fromkeys(near))}" if near else f"those there are lie in {hierarchy.mount}"
    )
    return f"there is no {what}; {hint}"


def _groups(hierarchy: Hierarchy) -> Iterator[tuple[str, Path]]:
    """Every group below the mount with its directory, those above before those below."""
    top = str(hierarchy.mount)
    for count, (folder, below, _) in enumerate(os.walk(top)):
        if count >= MAX_GROUPS:
            return
        below.sort()
        yield folder[len(top) :] or "/", Path(folder)


def _mounts(mountinfo: str) -> Iterator[tuple[str, str, str, str]]:
    """Root, mount point, type and options of every mount; proc(5)."""
    for line in Path(mountinfo).read_text(errors="replace").splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(" "), right.split(" ")
        if len(fields) >= 5 and len(kind) >= 3:
            root, mount = (_OCTAL.sub(lambda o: chr(int(o[1], 8)), f) for f in fields[3:5])
            yield root, mount, kind[0], kind[2]


def _level_of_namespace() -> int:
    """How deep the root that this process sees is below the real one.

    The kernel's own threads stay in the real root, so that inside of a namespace theirs is a path of as many `..`.
    """
    if os.stat("/proc/self/ns/cgroup").st_ino == _INITIAL_NAMESPACE:
        return 0
    try:
        for line in Path("/proc/2/cgroup").read_text().splitlines():
            if line.startswith("0::"):
                return line.split("/").count("..")
    except OSError:
        pass
    return 0
