"""Records of a ring, as arrays, to rows of table events."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracelab.errors import UsageError
from tracelab.recorder.loader import import_bcc
from tracelab.recorder.probes import Probe
from tracelab.schema import TABLES

UNKNOWN = np.uint64(0xFFFF_FFFF_FFFF_FFFF)  #: a value that the kernel side could not tell
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
_NAMED = 1024  #: numbers from here on share one name: no kernel has them


@cache
def syscall_names() -> tuple[str, ...]:
    """Names by number, from BCC's table; `syscall_N` where it has none."""
    import_bcc()
    from bcc.syscall import syscalls

    known: dict[int, str] = dict(_NEWER_SYSCALLS)
    known.update({number: name.decode() for number, name in syscalls.items()})
    return (*(known.get(n, f"syscall_{n}") for n in range(_NAMED)), "unknown")


def syscall_numbers(names: frozenset[str]) -> list[int]:
    """Numbers of named system calls; raises UsageError, with near names, for one that there is not."""
    import difflib

    numbers = {name: number for number, name in enumerate(syscall_names())}
    for name in names:
        if name not in numbers:
            near = difflib.get_close_matches(name, numbers, 3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise UsageError(f"{name!r} is neither a probe nor a system call{hint}")
    return sorted(numbers[name] for name in names)


def events_batch(probe: Probe, records: npt.NDArray[np.void]) -> pa.RecordBatch:
    """Rows of table events, in the order of the records; members that a record lacks become null."""
    n = len(records)
    members = records.dtype.names or ()
    columns = [
        _integers(records["time_ns"], np.int64),
        _integers(records["cpu"], np.int32),
        _integers(records["pid"], np.int32),
        _integers(records["tid"], np.int32),
        pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), _dictionary((probe.name,))),
        _names(probe, records),
        _values(records["value"]) if "value" in members else pa.nulls(n, pa.int64()),
        _integers(records["ret"], np.int64) if "ret" in members else pa.nulls(n, pa.int64()),
        pa.nulls(n, pa.int64()),
        pa.array(np.ones(n, np.int32)),
        pa.nulls(n, pa.int64()),
        pa.nulls(n, pa.int64()),
    ]
    return pa.RecordBatch.from_arrays(columns, names=list(TABLES["events"].column_names))


def _integers(column: npt.NDArray[np.generic], kind: type[np.signedinteger]) -> pa.Array:
    return pa.array(np.ascontiguousarray(column).view(kind))


def _values(column: npt.NDArray[np.uint64]) -> pa.Array:
    values = np.ascontiguousarray(column)
    unknown = values == UNKNOWN
    return pa.array(values.view(np.int64), mask=unknown if unknown.any() else None)


def _names(probe: Probe, records: npt.NDArray[np.void]) -> pa.DictionaryArray:
    if not probe.events:
        return pa.DictionaryArray.from_arrays(
            pa.array(np.zeros(len(records), np.int32)), _dictionary((probe.name,))
        )
    member, namespace = probe.events.split()
    assert namespace == "syscall", namespace
    numbers = np.minimum(records[member], _NAMED).astype(np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(numbers), _dictionary(syscall_names()))


@cache
def _dictionary(names: tuple[str, ...]) -> pa.StringArray:
    return pa.array(names, pa.string())
