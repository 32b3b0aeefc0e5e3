"""Tracers of others on this machine: where they are attached, who holds them, what they call, how full they are."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loaded_bpf import bpf
from recordings import recorded, rows_of, workload
from tracelab.recorder import instructions, introspect, owners
from tracelab.recorder.helpernames import KernelNames, helper_name
from tracelab.recorder.iterators import Unavailable
from tracelab.recorder.loader import import_bcc, own_headers
from tracelab.recorder.openfiles import OpenFiles
from tracelab.recorder.options import Options
from tracelab.recorder.readings import BpfReadings
from tracelab.recorder.recording import Recording

TRACER = r"""
struct guarded { struct bpf_spin_lock lock; u64 n; };
BPF_HASH(by_pid, u32, u64, 1000);
BPF_TABLE("lru_hash", u32, u64, recent, 500);
BPF_TABLE("percpu_hash", u32, u64, per_cpu, 300);
BPF_ARRAY(slots, u64, 64);
BPF_PROG_ARRAY(next, 4);
BPF_STACK_TRACE(stacks, 1024);
BPF_HASH(guards, u32, struct guarded, 16);
BPF_RINGBUF_OUTPUT(ring, 1);

int on_exit(struct bpf_raw_tracepoint_args *ctx)
{
    u32 pid = bpf_get_current_pid_tgid() >> 32;
    int slot = 3;
    u64 now = bpf_ktime_get_ns(), *n = slots.lookup(&slot);
    if (n)
        *n = now;
    if (pid != 1)
        return 0;
    bpf_trace_printk("pid %d\n", pid);
    by_pid.update(&pid, &now);
    recent.delete(&pid);
    per_cpu.lookup(&pid);
    stacks.get_stackid(ctx, 0);
    next.call(ctx, 1);
    return 0;
}
int on_call(struct pt_regs *ctx) { return 0; }
int on_clock(struct bpf_perf_event_data *ctx) { return 0; }
int on_event(void *ctx) { return 0; }
int fills(struct bpf_raw_tracepoint_args *ctx)
{
    u64 value = 1;
    ring.ringbuf_output(&value, sizeof(value), 1 /* BPF_RB_NO_WAKEUP */);
    return 0;
}
int locks(struct __sk_buff *skb)
{
    u32 zero = 0;
    struct guarded *g = guards.lookup(&zero);
    if (!g)
        return 0;
    bpf_spin_lock(&g->lock);
    g->n++;
    bpf_spin_unlock(&g->lock);
    return 0;
}
"""
HOLDS_A_MAP = """
import ctypes, struct, sys, time
sys.path[:0] = {path!r}
from loaded_bpf import bpf
bpf(0, struct.pack("<6II16s", 1, 4, 4, 8, 0, 0, 0, b"{name}").ljust(72, b"\\0"))
print("ready", flush=True)
time.sleep(600)
"""
CGROUPS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
PROG_ATTACH, CGROUP_SKB, CGROUP_INET_EGRESS = 8, 8, 1
TEST_RUN, LINK_CREATE, PERF_EVENT = 10, 28, 41
Rows = list[dict[str, Any]]


class Readings:
    """Readings of everything loaded, as rows by table."""

    def __init__(self) -> None:
        self.bpf = BpfReadings([], [], {})

    def take(self) -> dict[str, Rows]:
        """The next reading."""
        return {table: batch.to_pylist() for table, batch in self.bpf.take()}


@pytest.fixture
def readings() -> Iterator[Readings]:
    """Not of a recording: without threads, a folder, or a second to wait."""
    found = Readings()
    yield found
    found.bpf.close()


@pytest.fixture
def tracer() -> Iterator[Any]:
    """A BCC tracer, loaded and not attached."""
    with own_headers():
        program = import_bcc().BPF(text=TRACER.encode(), cflags=["-w"])
    yield program
    program.cleanup()


def named(rows: Rows, name: str, **about: object) -> dict[str, Any]:
    """The last row of that name, of this process."""
    return [r for r in rows if r["name"] == name and os.getpid() in r["owner_pids"]][-1]


def reading_of_map(readings: Readings, number: int) -> dict[str, Any]:
    """The next reading of a map in which it is its turn to be counted; on a slow machine few are, each time."""
    for _ in range(100):
        stats = readings.take()["bpf_map_stats"]
        (row,) = [r for r in stats if r["map_id"] == number]
        if row["entries"] is not None:
            return row
    pytest.fail(f"the entries of one of {len(stats)} maps are never counted: {row}")


def test_a_bcc_tracer_is_shown_with_what_it_is_attached_to(tracer: Any, readings: Readings) -> None:
    bcc = import_bcc()
    tracer.attach_raw_tracepoint(tp=b"sched_process_exit", fn_name=b"on_exit")
    tracer.attach_uprobe(name=b"c", sym=b"getppid", fn_name=b"on_call")
    tracer.attach_tracepoint(tp=b"syscalls:sys_enter_sync", fn_name=b"on_event")
    tracer.attach_perf_event(
        ev_type=bcc.PerfType.SOFTWARE,
        ev_config=bcc.PerfSWConfig.CPU_CLOCK,
        fn_name=b"on_clock",
        sample_freq=1,
    )
    taken = readings.take()
    attached = {
        name: named(taken["bpf_progs"], name)["attach"]
        for name in ("on_exit", "on_call", "on_event", "on_clock")
    }
    libc, _, offset = attached.pop("on_call").removeprefix("uprobe ").rpartition("+")
    assert attached == {
        "on_exit": "raw_tracepoint sched_process_exit",
        "on_event": "tracepoint syscalls:sys_enter_sync",
        "on_clock": "perf_event cpu-clock",
    }
    assert (Path(libc).name, int(offset, 16)) == ("libc.so.6", _offset_of_getppid())
    assert named(taken["bpf_progs"], "on_exit")["owner_comm"] == Path("/proc/self/comm").read_text().strip()
    ids = {named(taken["bpf_progs"], name)["prog_id"]: name for name in ("on_exit", "on_event", "on_clock")}
    links = {(ids[r["prog_id"]], r["type"], r["change"]) for r in taken["bpf_links"] if r["prog_id"] in ids}
    assert links == {
        ("on_exit", "raw_tracepoint", "seen"),
        ("on_event", "tracepoint", "seen"),
        ("on_clock", "perf_event", "seen"),
    }


def test_what_is_detached_is_gone_and_its_program_is_told_again(tracer: Any, readings: Readings) -> None:
    tracer.attach_raw_tracepoint(tp=b"sched_process_exit", fn_name=b"on_exit")
    number = named(readings.take()["bpf_progs"], "on_exit")["prog_id"]
    tracer.detach_raw_tracepoint(tp=b"sched_process_exit")
    changed: Rows = []
    links: Rows = []
    while not (changed and links):  # the kernel frees a link some time after its descriptor
        taken = readings.take()
        changed += [r for r in taken["bpf_progs"] if r["prog_id"] == number]
        links += [r for r in taken["bpf_links"] if r["prog_id"] == number]
    assert [(r["attach"], r["owner_pids"]) for r in changed] == [(None, [os.getpid()])]
    assert [(r["type"], r["target"], r["change"]) for r in links] == [
        ("raw_tracepoint", "sched_process_exit", "gone")
    ]


def test_a_tracepoint_that_is_attached_by_a_link_is_told_once_and_with_it(
    tracer: Any, readings: Readings
) -> None:
    bcc = import_bcc()
    program = tracer.load_func(b"on_event", bcc.BPF.TRACEPOINT)
    tracefs = next(
        p for p in ("/sys/kernel/tracing", "/sys/kernel/debug/tracing") if Path(p, "events").is_dir()
    )
    number = int(Path(tracefs, "events/syscalls/sys_enter_sync/id").read_text())
    event = _perf_event(2, number)
    try:
        link, _ = bpf(LINK_CREATE, struct.pack("<4I", program.fd, event, PERF_EVENT, 0).ljust(64, b"\0"))
    except OSError as error:
        os.close(event)
        pytest.skip(f"the kernel has no links of perf events ({error}); needs Linux 5.15")
    try:
        taken = readings.take()
    finally:
        os.close(link)
        os.close(event)
    about = named(taken["bpf_progs"], "on_event")
    links = [r for r in taken["bpf_links"] if r["prog_id"] == about["prog_id"]]
    assert [(r["type"], r["target"], r["change"]) for r in links] == [
        ("tracepoint", "syscalls:sys_enter_sync", "seen")
    ]
    assert links[0]["link_id"] is not None
    assert about["attach"] == "tracepoint syscalls:sys_enter_sync"


def test_a_program_of_a_control_group_is_shown_with_it_without_any_link(readings: Readings) -> None:
    root = next(
        (p for p in CGROUPS if (p / "cgroup.procs").is_file() and (p / "cgroup.controllers").is_file()), None
    )
    if root is None:
        pytest.skip(f"no unified control groups at {' or '.join(map(str, CGROUPS))}; mount -t cgroup2")
    group = root / f"tracelab{os.getpid()}"
    group.mkdir()
    with contextlib.ExitStack() as after:
        after.callback(group.rmdir)
        program = introspect.load(CGROUP_SKB, b"passes", _returns(1))
        after.callback(os.close, program)
        folder = os.open(group, os.O_RDONLY)
        after.callback(os.close, folder)
        bpf(PROG_ATTACH, struct.pack("<4I", folder, program, CGROUP_INET_EGRESS, 0).ljust(24, b"\0"))
        about = named(readings.take()["bpf_progs"], "passes")
    assert about["attach"] == f"cgroup_inet_egress /{group.name}"


def test_the_code_of_a_tracer_is_told_without_its_source(tracer: Any, readings: Readings) -> None:
    bcc = import_bcc()
    tracer.load_func(b"on_exit", bcc.BPF.RAW_TRACEPOINT)
    tracer.load_func(b"locks", bcc.BPF.SCHED_CLS)
    taken = readings.take()
    about = named(taken["bpf_progs"], "on_exit")
    if about["helpers"] is None:
        pytest.skip("the kernel hides its addresses; needs kernel.kptr_restrict below 2")
    assert json.loads(about["helpers"]) == {
        "get_current_pid_tgid": 1,
        "get_stackid": 1,
        "ktime_get_ns": 1,
        "map_delete_elem": 1,
        "map_lookup_elem": 2,
        "map_update_elem": 1,
        "tail_call": 1,
        "trace_printk": 1,
    }
    assert (about["tail_calls"], about["spin_locks"], about["insns"]) == (1, 0, about["xlated_bytes"] // 8)
    maps = {r["map_id"]: r["name"] for r in taken["bpf_maps"]}
    assert {maps[n] for n in about["code_map_ids"]} == {
        "slots",
        "by_pid",
        "recent",
        "per_cpu",
        "stacks",
        "next",
    }
    assert named(taken["bpf_progs"], "locks")["spin_locks"] == 1
    assert json.loads(named(taken["bpf_progs"], "locks")["helpers"]) == {
        "map_lookup_elem": 1,
        "spin_lock": 1,
        "spin_unlock": 1,
    }


@pytest.mark.skipif(shutil.which("bpftool") is None, reason="bpftool is missing; install bpftool")
def test_calls_and_maps_are_those_that_bpftool_shows(tracer: Any) -> None:
    bcc = import_bcc()
    kinds = {"on_exit": bcc.BPF.RAW_TRACEPOINT, "fills": bcc.BPF.RAW_TRACEPOINT, "locks": bcc.BPF.SCHED_CLS}
    for name, kind in kinds.items():
        fd = tracer.load_func(name.encode(), kind).fd
        number = introspect.program(fd).prog_id
        shown = subprocess.run(
            ["bpftool", "prog", "dump", "xlated", "id", str(number)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        calls = Counter(helper_name(f) for f in re.findall(r"\(85\) call (\w+)#-?\d+", shown))
        code = instructions.decode(introspect.translated(fd), KernelNames())
        assert code is not None
        assert code.helpers is not None
        rewritten = Counter(code.helpers) - calls
        assert rewritten == (Counter(map_lookup_elem=1) if name == "on_exit" else Counter())  # of the array
        assert not calls - Counter(code.helpers)
        assert set(code.map_ids) == {int(n) for n in re.findall(r"map\[id:(\d+)\]", shown)}
        assert code.insns == int(re.findall(r"^\s*(\d+):", shown, re.M)[-1]) + 1


def test_entries_in_use_are_those_that_the_tracer_put_in(tracer: Any, readings: Readings) -> None:
    for table, n in ((b"by_pid", 11), (b"recent", 7), (b"guards", 2)):
        for key in range(n):
            tracer[table][tracer[table].Key(key)] = tracer[table].Leaf()
    for key in range(5):
        per_cpu = tracer[b"per_cpu"]
        per_cpu[per_cpu.Key(key)] = per_cpu.Leaf(*[key] * len(per_cpu.Leaf()))
    fd = tracer.load_func(b"fills", import_bcc().BPF.RAW_TRACEPOINT).fd
    tracer[b"next"][ctypes.c_int(1)] = ctypes.c_int(fd)
    for _ in range(9):
        bpf(TEST_RUN, struct.pack("<I", fd).ljust(80, b"\0"))
    taken = readings.take()
    maps = {m["map_id"]: m["name"] for m in taken["bpf_maps"] if os.getpid() in m["owner_pids"]}
    stats = {maps[r["map_id"]]: r for r in taken["bpf_map_stats"] if r["map_id"] in maps}
    for name, row in stats.items():
        if row["entries"] is None and name not in ("slots", "ring"):
            stats[name] = reading_of_map(readings, row["map_id"])
    assert {name: (r["entries"], r["entries_exact"]) for name, r in stats.items()} == {
        "by_pid": (11, 1),
        "recent": (7, 1),
        "guards": (2, 1),
        "per_cpu": (5, 1),
        "next": (1, 1),
        "stacks": (0, 1),
        "slots": (None, None),
        "ring": (None, None),
    }
    assert stats["ring"]["fill_bytes"] == 9 * 16  # a value of 8 bytes, behind a header of 8
    assert all(r["memlock_bytes"] > 0 for r in stats.values())


def test_stacks_in_a_stack_map_are_counted(tracer: Any, readings: Readings) -> None:
    with own_headers():
        program = import_bcc().BPF(
            text=b"BPF_STACK_TRACE(traces, 256);\n"
            b"RAW_TRACEPOINT_PROBE(sys_exit) { traces.get_stackid(ctx, BPF_F_USER_STACK); return 0; }",
            cflags=["-w"],
        )
    try:
        for call in (os.getppid, os.getuid, os.geteuid, os.getgid, os.getegid):  # a stack each
            call()
        assert len(list(program[b"traces"].keys())) >= 5
        program.detach_raw_tracepoint(tp=b"sys_exit")
        number = introspect.map_id(program[b"traces"].map_fd)
        row = reading_of_map(readings, number)
        assert (row["entries"], row["entries_exact"]) == (len(list(program[b"traces"].keys())), 1)
    finally:
        program.cleanup()


@pytest.mark.skipif(shutil.which("bpftrace") is None, reason="bpftrace is missing; install bpftrace")
def test_a_bpftrace_script_is_shown_with_what_it_is_attached_to(readings: Readings) -> None:
    script = (
        "tracepoint:syscalls:sys_enter_sync { @s[kstack] = count(); } profile:hz:1 { @c = count(); } "
        'tracepoint:raw_syscalls:sys_exit /pid == 0/ { printf("never %s", comm); }'
    )
    with subprocess.Popen(["bpftrace", "-e", script], stdout=subprocess.PIPE) as bpftrace:
        try:
            assert bpftrace.stdout is not None
            assert b"Attaching 3 probes" in bpftrace.stdout.readline()
            found: dict[str, dict[str, Any]] = {}
            while len([r for r in found.values() if r["attach"]]) < 3:
                assert bpftrace.poll() is None
                mine = [r for r in readings.take()["bpf_progs"] if bpftrace.pid in r["owner_pids"]]
                found.update({r["prog_id"]: r for r in mine})
        finally:
            bpftrace.kill()
    assert sorted(r["attach"] for r in found.values()) == [
        "perf_event cpu-clock",
        "tracepoint raw_syscalls:sys_exit",
        "tracepoint syscalls:sys_enter_sync",
    ]
    assert {r["owner_comm"] for r in found.values()} == {"bpftrace"}
    helpers = {r["attach"]: json.loads(r["helpers"] or "{}") for r in found.values()}
    assert helpers["tracepoint syscalls:sys_enter_sync"]["get_stackid"] == 1
    assert helpers["tracepoint raw_syscalls:sys_exit"]["perf_event_output"] == 1


def test_owners_are_told_again_when_they_change(
    tracer: Any, readings: Readings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owners, "AGAIN_S", 0.0)
    fd = tracer.load_func(b"on_event", import_bcc().BPF.TRACEPOINT).fd
    number = introspect.program(fd).prog_id

    def owners_now() -> list[list[int]]:
        return [r["owner_pids"] for r in readings.take()["bpf_progs"] if r["prog_id"] == number]

    assert owners_now() == [[os.getpid()]]
    with subprocess.Popen(["sleep", "600"], pass_fds=[fd]) as child:
        assert owners_now() == [sorted([os.getpid(), child.pid])]
        assert owners_now() == []
        child.kill()
        child.wait()
        assert owners_now() == [[os.getpid()]]


def test_proc_tells_the_same_of_who_holds_what_as_the_kernels_iterator(tracer: Any) -> None:
    bcc = import_bcc()
    tracer.attach_raw_tracepoint(tp=b"sched_process_exit", fn_name=b"on_exit")
    tracer.attach_tracepoint(tp=b"syscalls:sys_enter_sync", fn_name=b"on_event")
    tracer.attach_perf_event(
        ev_type=bcc.PerfType.SOFTWARE,
        ev_config=bcc.PerfSWConfig.CPU_CLOCK,
        fn_name=b"on_clock",
        sample_freq=1,
    )
    try:
        files = OpenFiles()
    except Unavailable as error:
        pytest.skip(f"{error}; needs Linux 5.8 with CONFIG_DEBUG_INFO_BTF")
    try:
        by_kernel = next(owners.look_at(files))
        ours = {files.prog_id}
    finally:
        files.close()
    by_proc = next(held for held in owners.look(set()) if held is not None)
    pid = os.getpid()

    def held_here(held: dict[int, set[int]]) -> set[int]:
        return {number for number, pids in held.items() if pid in pids}

    assert held_here(by_proc.programs) == held_here(by_kernel.programs) - ours != set()
    assert held_here(by_proc.maps) == held_here(by_kernel.maps) != set()
    here = held_here(by_proc.programs)
    named_events = {a for a in by_kernel.attached if a.prog_id in here and a.type != "perf_event"}
    assert {a for a in by_proc.attached if a.prog_id in here} == named_events != set()
    assert pid in by_proc.unnamed


def test_a_look_into_proc_is_made_in_slices_and_completed() -> None:
    program = introspect.load_empty_program()
    try:
        number = introspect.program(program).prog_id
        looking = owners.Owners(None)
        slices = 1
        while not looking.advance(0.0):
            slices += 1
        assert slices > 1
        assert looking.held.programs[number] == {os.getpid()}
        assert not looking.advance(0.0)  # nothing has changed: not yet again
    finally:
        os.close(program)


def test_a_map_goes_with_its_owner_while_it_is_recorded(tmp_path: Path) -> None:
    name = f"held{os.getpid()}"[:15]
    code = HOLDS_A_MAP.format(path=[str(Path(__file__).parents[1])], name=name)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"ready\n"
            (number,) = _maps_named(name)
            with Recording(tmp_path / "s", Options(events="syscalls")) as recording:
                while not _rows_of_map(recording.path, number):
                    time.sleep(0.05)
                holder.kill()
                holder.wait()
                while _maps_named(name):
                    time.sleep(0.05)
        finally:
            holder.kill()
    about = [r for r in rows_of(tmp_path / "s", "bpf_maps") if r["map_id"] == number]
    assert [(r["name"], r["owner_pids"], r["own"]) for r in about] == [(name, [holder.pid], 0)]
    assert {r["entries"] for r in _rows_of_map(tmp_path / "s", number)} == {0}


def test_a_recording_tells_of_a_tracer_and_of_itself(tmp_path: Path, tracer: Any) -> None:
    tracer.attach_tracepoint(tp=b"syscalls:sys_enter_sync", fn_name=b"on_event")
    recording = recorded(tmp_path / "s", workload("sleeps", 1.2), events="syscalls")
    rows = [r for r in rows_of(recording.path, "bpf_progs") if os.getpid() in r["owner_pids"]]
    programs = {r["name"]: r for r in rows}
    assert programs["on_event"]["attach"] == "tracepoint syscalls:sys_enter_sync"
    assert (programs["on_event"]["own"], programs["sys_enter"]["own"]) == (0, 1)
    own = [r["attach"] for r in rows if r["name"] == "sys_enter"]
    assert "raw_tracepoint sys_enter" in own  # null before it was attached, and after
    links = {(r["type"], r["target"], r["own"]) for r in rows_of(recording.path, "bpf_links")}
    assert links >= {("tracepoint", "syscalls:sys_enter_sync", 0), ("raw_tracepoint", "sys_enter", 1)}
    readings_of = Counter(r["prog_id"] for r in rows_of(recording.path, "bpf_prog_stats"))
    assert readings_of[programs["on_event"]["prog_id"]] >= 2


def test_statistics_that_somebody_else_has_switched_on_stay_on(tmp_path: Path) -> None:
    switch = Path("/proc/sys/kernel/bpf_stats_enabled")
    if not os.access(switch, os.W_OK):
        pytest.skip(f"{switch} cannot be written; needs Linux 5.1, and /proc/sys that is not read-only")
    before = switch.read_text()
    with contextlib.ExitStack() as after:
        program = introspect.load_empty_program()
        after.callback(os.close, program)
        after.callback(switch.write_text, before)
        switch.write_text("1")
        recorded(tmp_path / "by switch", workload("sleeps", 0.1), events="syscalls")
        assert switch.read_text().strip() == "1"
        assert _counted_runs(program, 10) == 10
        switch.write_text(before)
        holder = introspect.enable_stats()
        after.callback(os.close, holder)
        recorded(tmp_path / "by descriptor", workload("sleeps", 0.1), events="syscalls")
        assert switch.read_text() == before
        assert _counted_runs(program, 10) == 10


def _counted_runs(program: int, runs: int) -> int:
    """Runs of a program that the kernel counts, of so many."""
    before = introspect.program_stats(program).run_cnt
    for _ in range(runs):
        bpf(TEST_RUN, struct.pack("<I", program).ljust(80, b"\0"))
    return introspect.program_stats(program).run_cnt - before


def _maps_named(name: str) -> list[int]:
    """Maps of that name, by id; none is held afterwards."""
    found = []
    for number in list(introspect.ids("map")):
        with contextlib.suppress(OSError), introspect.opened("map", number) as fd:
            if introspect.bpf_map(fd).name == name:
                found.append(number)
    return found


def _rows_of_map(session: Path, number: int) -> Rows:
    return [r for r in rows_of(session, "bpf_map_stats") if r["map_id"] == number]


def _perf_event(kind: int, config: int) -> int:
    """A perf event of this process."""
    attr = ctypes.create_string_buffer(struct.pack("<IIQ", kind, 112, config), 112)
    fd: int = ctypes.CDLL(None).syscall(
        {"x86_64": 298, "aarch64": 241}[os.uname().machine], attr, 0, -1, -1, 8
    )
    assert fd >= 0
    return fd


def _returns(value: int) -> bytes:
    """A program that returns a value."""
    return struct.pack("<BBhiBBhi", 0xB7, 0, 0, value, 0x95, 0, 0, 0)


def _offset_of_getppid() -> int:
    """Where libc has it, in its file."""
    address = ctypes.cast(ctypes.CDLL(None).getppid, ctypes.c_void_p).value or 0
    for line in Path("/proc/self/maps").read_text().splitlines():
        bounds, _, offset, *_ = line.split()
        start, end = (int(part, 16) for part in bounds.split("-"))
        if start <= address < end:
            return address - start + int(offset, 16)
    raise AssertionError("getppid is in no mapping")
