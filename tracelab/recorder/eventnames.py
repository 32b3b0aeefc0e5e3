"""Names of a probe's events by the number in its records, and the numbers of names that are asked for.

Front matter says `event: member namespace` or `event: member name name ...`.
"""

from __future__ import annotations

import difflib
from functools import cache

from tracelab.errors import UsageError
from tracelab.recorder.loader import import_bcc
from tracelab.recorder.probes import Probe

#: Calls newer than the table of the oldest BCC in use; their numbers are the same on all architectures.
_NEWER_SYSCALLS = {
    449: "futex_waitv",
    450: "set_mempolicy_home_node",
    451: "cachestat",
    452: "fchmodat2",
    453: "map_shadow_stack",
    454: "futex_wake",
    455: "futex_wait",
    456: "futex_requeue",
    457: "statmount",
    458: "listmount",
    459: "lsm_get_self_attr",
    460: "lsm_set_self_attr",
    461: "lsm_list_modules",
    462: "mseal",
    463: "setxattrat",
    464: "getxattrat",
    465: "listxattrat",
    466: "removexattrat",
    467: "open_tree_attr",
}
_SYSCALLS = 1024  #: numbers from here on share one name: no kernel has them
#: Which argument is a path, counted from 1; for calls with two, the one that is looked up first.
PATH_ARGUMENTS = {
    1: "open stat lstat access execve truncate chdir rename mkdir rmdir creat link unlink symlink readlink chmod chown "
    "lchown uselib mknod statfs pivot_root chroot acct mount umount2 swapon swapoff setxattr lsetxattr getxattr "
    "lgetxattr listxattr llistxattr removexattr lremovexattr utime utimes",
    2: "openat openat2 mkdirat mknodat fchownat futimesat newfstatat unlinkat renameat renameat2 linkat readlinkat "
    "fchmodat fchmodat2 faccessat faccessat2 utimensat name_to_handle_at execveat statx open_tree mount_setattr "
    "inotify_add_watch fspick setxattrat getxattrat listxattrat removexattrat",
    3: "symlinkat",
}


@cache
def syscall_names() -> tuple[str, ...]:
    """Names by number, from BCC's table; `syscall_N` where it has none."""
    import_bcc()
    from bcc.syscall import syscalls

    known: dict[int, str] = dict(_NEWER_SYSCALLS)
    known.update({number: name.decode() for number, name in syscalls.items()})
    return (*(known.get(n, f"syscall_{n}") for n in range(_SYSCALLS)), "unknown")


def path_arguments() -> dict[int, int]:
    """By number of the system call: which argument is a path, counted from 1."""
    numbers = {name: number for number, name in enumerate(syscall_names())}
    return {
        numbers[name]: argument
        for argument, names in PATH_ARGUMENTS.items()
        for name in names.split()
        if name in numbers
    }


def event_names(probe: Probe) -> tuple[str, ...]:
    """Names by number; a number beyond the last one has the last one's name. One name without numbers: the probe's."""
    if not probe.events:
        return (probe.name,)
    _, *words = probe.events.split()  # `asked`: the places that were asked for; see sites.py
    return syscall_names() if words == ["syscall"] else tuple(words)


def event_numbers(probe: Probe, asked: frozenset[str]) -> list[int]:
    """Numbers of named events; raises UsageError, with near names, for one that there is not."""
    numbers = {name: number for number, name in enumerate(event_names(probe))}
    for name in asked:
        if name not in numbers:
            near = difflib.get_close_matches(name, numbers, 3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            what = (
                "neither a probe nor a system call"
                if probe.name == "syscalls"
                else f"no event of {probe.name}"
            )
            raise UsageError(f"{name!r} is {what}{hint}")
    return sorted(numbers[name] for name in asked)
