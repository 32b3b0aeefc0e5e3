"""Every stored table and column, declared once: type, unit and meaning.

Parquet files, documentation and the recorder are checked against this file. Columns are added, never
changed or removed: a reader fills a column that an older session lacks with null.

Only `int32`, `int64`, `double`, `string` and `list<int32>` are stored: other types are read differently
by different engines.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = 2
HISTORY = {
    1: "first version",
    2: "sizes and keys of events, fields of texts, containers, program code, links, map entries, accounts",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One stored column."""

    name: str
    type: str  #: int32, int64, double, string or list<int32>
    unit: str  #: ns, bytes, 1 for a plain number or text
    meaning: str
    repeats: bool = False  #: few distinct values, so that a parquet dictionary pays


@dataclass(frozen=True, slots=True)
class Table:
    """One stored table."""

    name: str
    row: str  #: what one row stands for
    columns: tuple[Column, ...]
    how_to_record: str  #: what to tell a user whose session lacks it

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the columns, in stored order."""
        return tuple(c.name for c in self.columns)


_TIME = Column("time_ns", "int64", "ns", "CLOCK_MONOTONIC; the manifest maps it to wall time")
_CPU = Column("cpu", "int32", "1", "CPU number", repeats=True)
_PID = Column("pid", "int32", "1", "process id, as ps means it", repeats=True)
_TID = Column("tid", "int32", "1", "thread id", repeats=True)
_STACK = Column("stack_id", "int64", "1", "stack in table stacks; null when no stack was taken")

_ALL = (
    Table(
        "events",
        "kernel event",
        (
            _TIME,
            _CPU,
            _PID,
            _TID,
            Column("probe", "string", "1", "probe that recorded the event", repeats=True),
            Column("event", "string", "1", "name of the event within its probe", repeats=True),
            Column("value", "int64", "probe", "unit and meaning from the probe; null when unknown"),
            Column("ret", "int64", "1", "return value; null when the event has none", repeats=True),
            _STACK,
            Column(
                "weight", "int32", "events", "events this row stands for; above 1 when sampled", repeats=True
            ),
            Column(
                "size_bytes",
                "int64",
                "bytes",
                "bytes moved or asked for; null when the event has none",
                repeats=True,
            ),
            Column(
                "key",
                "int64",
                "probe",
                "what it is about, as the probe says: an address, a device, a peer; or null",
            ),
        ),
        "record with --events syscalls",
    ),
    Table(
        "samples",
        "stack sample",
        (
            _TIME,
            _CPU,
            _PID,
            _TID,
            _STACK,
            Column(
                "kind",
                "string",
                "1",
                "what was sampled: on-CPU, off-CPU, wakeup, ..., as the probe says",
                repeats=True,
            ),
            Column("weight", "int64", "unit", "what the sample stands for", repeats=True),
            Column("unit", "string", "1", "unit of weight", repeats=True),
            Column(
                "unwound",
                "string",
                "1",
                "complete when the outermost frame was reached, else the reason it was not",
                repeats=True,
            ),
            Column("key", "int64", "probe", "what it is about, as the probe says: a thread, an address; or null"),
        ),
        "record with --events oncpu",
    ),
    Table(
        "stacks",
        "distinct stack",
        (_STACK, Column("frames", "list<int32>", "1", "frame ids, root first")),
        "record with --events oncpu",
    ),
    Table(
        "frames",
        "distinct frame",
        (
            Column("frame_id", "int32", "1", "number of the frame in this session"),
            Column("symbol", "string", "1", "demangled function name, or [module]+0xoffset"),
            Column("module", "string", "1", "file, [kernel], [bpf], [jit] or empty", repeats=True),
            Column("build_id", "string", "1", "build id in hexadecimal, or null", repeats=True),
            Column("offset", "int64", "bytes", "address relative to the image base"),
            Column("file", "string", "1", "source file, or null", repeats=True),
            Column("line", "int32", "1", "source line, or null"),
            Column(
                "inlined", "int32", "1", "1 for a frame that was inlined into the one before", repeats=True
            ),
            Column("domain", "string", "1", "user, kernel, bpf or python", repeats=True),
        ),
        "record with --events oncpu",
    ),
    Table(
        "strings",
        "event that carries a text",
        (
            _TIME,
            _TID,
            Column(
                "event",
                "string",
                "1",
                "event that the text belongs to, at the same time and thread",
                repeats=True,
            ),
            Column("text", "string", "1", "path, argument or address"),
            Column("truncated", "int32", "1", "1 when the text was cut", repeats=True),
            Column("field", "string", "1", "what the text is: path, argv, exe, address, ...", repeats=True),
        ),
        "record with --paths, or with a probe that carries texts, such as process",
    ),
    Table(
        "tasks",
        "change in the life of a thread",
        (
            _TIME,
            _TID,
            _PID,
            Column("ppid", "int32", "1", "parent process; null when unknown", repeats=True),
            Column("change", "string", "1", "seen, fork, exec, rename or exit", repeats=True),
            Column("comm", "string", "1", "thread name from this moment on", repeats=True),
            Column("exe", "string", "1", "executable; null when unknown", repeats=True),
            Column("cgroup", "string", "1", "control group path; null when unknown", repeats=True),
            Column("container", "string", "1", "container id; null outside of containers", repeats=True),
            Column(
                "container_name", "string", "1", "its name, where the runtime tells; else null", repeats=True
            ),
            Column(
                "exit_code", "int32", "1", "exit status as wait(2) has it; null when unknown", repeats=True
            ),
        ),
        "tasks are always recorded; the recording may have died in its first moments",
    ),
    Table(
        "bpf_progs",
        "eBPF program seen loaded, and again when its owners or attachment change",
        (
            _TIME,
            Column("prog_id", "int32", "1", "kernel id of the program"),
            Column("tag", "string", "1", "hash of the instructions"),
            Column("name", "string", "1", "name given by its loader"),
            Column("type", "string", "1", "program type", repeats=True),
            Column("attach", "string", "1", "where it is attached, or null", repeats=True),
            Column("owner_pids", "list<int32>", "1", "processes that hold a descriptor of it"),
            Column("owner_comm", "string", "1", "name of the first owner, or null", repeats=True),
            Column("own", "int32", "1", "1 when it belongs to this recording", repeats=True),
            Column("load_time_ns", "int64", "ns", "when it was loaded, CLOCK_BOOTTIME"),
            Column("xlated_bytes", "int32", "bytes", "size of the translated program"),
            Column("jited_bytes", "int32", "bytes", "size of the machine code; 0 when interpreted"),
            Column("verified_insns", "int32", "1", "instructions the verifier walked"),
            Column("map_ids", "list<int32>", "1", "maps it uses"),
            Column("insns", "int32", "1", "translated instructions; null when the kernel does not show them"),
            Column(
                "helpers", "string", "1", 'calls in its code by helper, as JSON, such as {"trace_printk": 1}'
            ),
            Column("tail_calls", "int32", "1", "tail calls in its code"),
            Column("spin_locks", "int32", "1", "places in its code that take a spin lock"),
            Column("code_map_ids", "list<int32>", "1", "maps that its code names"),
        ),
        "record as root on Linux 5.8 or later",
    ),
    Table(
        "bpf_prog_stats",
        "eBPF program and reading",
        (
            _TIME,
            Column("prog_id", "int32", "1", "kernel id of the program", repeats=True),
            Column("run_cnt", "int64", "1", "runs since the recording began, while they were counted"),
            Column(
                "run_time_ns", "int64", "ns", "time spent in those runs; contains the statistics' own floor"
            ),
            Column("misses", "int64", "1", "runs refused meanwhile because one was under way on that CPU"),
            Column("counted_ns", "int64", "ns", "for how long runs were counted; null: all the time"),
        ),
        "record as root on Linux 5.8 or later",
    ),
    Table(
        "bpf_maps",
        "eBPF map seen loaded",
        (
            _TIME,
            Column("map_id", "int32", "1", "kernel id of the map"),
            Column("name", "string", "1", "name given by its loader"),
            Column("type", "string", "1", "map type", repeats=True),
            Column("key_bytes", "int32", "bytes", "size of a key", repeats=True),
            Column("value_bytes", "int32", "bytes", "size of a value", repeats=True),
            Column("max_entries", "int64", "1", "capacity; bytes for ring buffers"),
            Column("flags", "int32", "1", "BPF_F_* bits", repeats=True),
            Column("own", "int32", "1", "1 when it belongs to this recording", repeats=True),
            Column("owner_pids", "list<int32>", "1", "processes that hold a descriptor of it"),
        ),
        "record as root on Linux 5.8 or later",
    ),
    Table(
        "bpf_links",
        "eBPF link, or other attachment of a program, when first seen and when gone",
        (
            _TIME,
            Column("link_id", "int32", "1", "kernel id of the link; null for an attachment without link"),
            Column("prog_id", "int32", "1", "kernel id of the program", repeats=True),
            Column(
                "type",
                "string",
                "1",
                "raw_tracepoint, tracepoint, kprobe, uprobe, perf_event, tracing, ...",
                repeats=True,
            ),
            Column("target", "string", "1", "what it is attached to, or null", repeats=True),
            Column("change", "string", "1", "seen or gone", repeats=True),
            Column("own", "int32", "1", "1 when it belongs to this recording", repeats=True),
        ),
        "record as root on Linux 5.8 or later",
    ),
    Table(
        "bpf_map_stats",
        "eBPF map and reading",
        (
            _TIME,
            Column("map_id", "int32", "1", "kernel id of the map", repeats=True),
            Column(
                "memlock_bytes",
                "int64",
                "bytes",
                "memory charged; an estimate before Linux 6.4",
                repeats=True,
            ),
            Column("fill_bytes", "int64", "bytes", "unread bytes of a ring buffer; null for other maps"),
            Column("entries", "int64", "1", "entries in use; null where that cannot be told"),
            Column(
                "entries_exact",
                "int32",
                "1",
                "1 when all were counted, 0 when estimated from a part",
                repeats=True,
            ),
        ),
        "record as root on Linux 5.8 or later",
    ),
    Table(
        "host",
        "CPU, or the whole machine, and reading",
        (
            _TIME,
            Column("cpu", "int32", "1", "CPU number; -1 for the whole machine", repeats=True),
            Column("user_ns", "int64", "ns", "time in user mode since boot, nice included"),
            Column("system_ns", "int64", "ns", "time in the kernel since boot"),
            Column("irq_ns", "int64", "ns", "time in hard and soft interrupts since boot"),
            Column("idle_ns", "int64", "ns", "idle time since boot, waiting for IO included"),
            Column("steal_ns", "int64", "ns", "time that the hypervisor gave to others since boot"),
            Column(
                "mem_total_bytes", "int64", "bytes", "memory of the machine; whole machine only", repeats=True
            ),
            Column(
                "mem_available_bytes",
                "int64",
                "bytes",
                "memory available without swapping; whole machine only",
            ),
            Column("load1", "double", "1", "load average over a minute; whole machine only"),
            Column("context_switches", "int64", "1", "context switches since boot; whole machine only"),
        ),
        "host readings are always recorded; the recording may have died in its first second",
    ),
    Table(
        "procs",
        "process and reading",
        (
            _TIME,
            _PID,
            Column("comm", "string", "1", "process name", repeats=True),
            Column("user_ns", "int64", "ns", "CPU time in user mode since its start"),
            Column("system_ns", "int64", "ns", "CPU time in the kernel since its start"),
            Column("rss_bytes", "int64", "bytes", "resident memory"),
            Column("threads", "int32", "1", "number of threads", repeats=True),
            Column(
                "pss_bytes", "int64", "bytes", "proportional memory; null unless the process is a --target"
            ),
            Column("voluntary_switches", "int64", "1", "waits since its start; null unless a --target"),
            Column(
                "involuntary_switches", "int64", "1", "preemptions since its start; null unless a --target"
            ),
            Column(
                "read_bytes", "int64", "bytes", "read from storage since its start; null unless a --target"
            ),
            Column(
                "write_bytes", "int64", "bytes", "written to storage since its start; null unless a --target"
            ),
            Column("minor_faults", "int64", "1", "page faults without IO since its start"),
            Column("major_faults", "int64", "1", "page faults with IO since its start", repeats=True),
        ),
        "process readings are always recorded; the recording may have died in its first second",
    ),
    Table(
        "metrics",
        "scraped value",
        (
            _TIME,
            Column("name", "string", "1", "name of the metric", repeats=True),
            Column("labels", "string", "1", "labels as JSON with sorted keys", repeats=True),
            Column("value", "double", "metric", "value, in the unit that the name tells"),
        ),
        "no option of this version scrapes metrics",
    ),
    Table(
        "losses",
        "place and time of a loss, or of an exclusion on purpose",
        (
            _TIME,
            _CPU,
            Column("source", "string", "1", "probe or part that lost or left out", repeats=True),
            Column("reason", "string", "1", "one of LOST_REASONS or EXCLUDED_REASONS", repeats=True),
            Column("count", "int64", "1", "how many since the reading before"),
        ),
        "losses are always recorded; the recording may have died in its first moments",
    ),
    Table(
        "accounts",
        "probe, CPU and reading: what became of every event that the probe saw since the reading before",
        (
            _TIME,
            _CPU,
            Column("source", "string", "1", "probe", repeats=True),
            Column(
                "seen", "int64", "1", "times the probe ran for an event: the sum of the columns that follow"
            ),
            Column("kept", "int64", "1", "events that were kept"),
            Column("lost", "int64", "1", "events lost because a ring was full", repeats=True),
            Column(
                "sampled_out",
                "int64",
                "1",
                "events that the rows kept stand for by their weight",
                repeats=True,
            ),
            Column("filtered", "int64", "1", "events that were not asked for", repeats=True),
            Column("own", "int64", "1", "events of the recorder itself", repeats=True),
            Column("idle", "int64", "1", "samples of the idle task", repeats=True),
        ),
        "accounts are always recorded; the recording may have died in its first moments",
    ),
    Table(
        "marks",
        "annotation",
        (
            _TIME,
            Column("until_ns", "int64", "ns", "end of the marked time; null for an instant"),
            Column("author", "string", "1", "who set the mark", repeats=True),
            Column("text", "string", "1", "what it says"),
        ),
        "set one with s.mark(time, text=...), or with rec.mark(text) while recording",
    ),
)

TABLES: dict[str, Table] = {t.name: t for t in _ALL}

LOST_REASONS = (
    "ring full",
    "side-band full",
    "text ring full",
    "probe busy",
)  #: rows that are missing though they were asked for
EXCLUDED_REASONS = ("own", "filtered", "idle", "sampled out")  #: rows left out on purpose, and counted


@cache
def arrow_schema(table: str) -> pa.Schema:
    """The Arrow schema of a table; each field carries its unit and meaning as metadata."""
    import pyarrow as pa

    types = {
        "int32": pa.int32(),
        "int64": pa.int64(),
        "double": pa.float64(),
        "string": pa.string(),
        "list<int32>": pa.list_(pa.int32()),
    }
    return pa.schema(
        [
            pa.field(c.name, types[c.type], metadata={"unit": c.unit, "meaning": c.meaning})
            for c in TABLES[table].columns
        ],
        metadata={"tracelab.schema_version": str(SCHEMA_VERSION), "tracelab.table": table},
    )
