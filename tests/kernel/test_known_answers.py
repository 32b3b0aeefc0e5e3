"""Workloads whose answer is known, recorded on this kernel."""

from __future__ import annotations

import os
import subprocess
import time
from collections import Counter
from pathlib import Path

from recordings import command_pid, counting_exits, recorded, rows, workload
from tracelab.recorder.eventnames import event_numbers
from tracelab.recorder.options import Options
from tracelab.recorder.probes import all_probes
from tracelab.recorder.recording import Recording


def test_23_reads_give_23_read_events(tmp_path: Path) -> None:
    recording = recorded(tmp_path / "s", workload("reads", 23), events="syscalls")
    events = rows(recording, "events", pid=command_pid(recording))
    assert [e["event"] for e in events if e["ret"] == 4093] == ["read"] * 23


def test_a_sleep_of_50_ms_is_one_clock_nanosleep_of_50_ms(tmp_path: Path) -> None:
    recording = recorded(tmp_path / "s", workload("sleeps", 0.05), events="syscalls")
    events = rows(recording, "events", pid=command_pid(recording))
    (duration_ns,) = [e["value"] for e in events if e["event"] == "clock_nanosleep"]
    assert isinstance(duration_ns, int)
    # Python sleeps until a time, of which its own way there is taken off; a busy machine wakes it late.
    assert 40_000_000 <= duration_ns < 150_000_000


def test_every_call_of_a_process_is_accounted_for(tmp_path: Path) -> None:
    with counting_exits() as finished_calls:
        recording = recorded(tmp_path / "s", workload("calls", 50_000), events="syscalls")
        pid = command_pid(recording)
        counted = finished_calls(pid)
    assert recording.manifest.probes["syscalls"]["counts"]["lost"] == 0
    assert len(rows(recording, "events", pid=pid)) == counted > 50_000


def test_kept_and_lost_are_what_an_independent_program_counted_when_the_ring_overflows(
    tmp_path: Path,
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    command = f": > {gate}.near; read line < {gate}; exec {' '.join(workload('calls', 600_000))}"
    with counting_exits() as finished_calls, subprocess.Popen(["/bin/sh", "-c", command]) as process:
        pid = process.pid
        while not gate.with_suffix(".near").exists():  # before that, it may sleep in the opening of a library
            time.sleep(0.01)
        _wait_for_state(pid, "S")
        before = finished_calls(pid)
        options = Options(events="syscalls", pid=(pid,), ring_mib=0.004)
        with Recording(tmp_path / "s", options) as recording:
            gate.write_text("go\n")
            process.wait()
        counted = finished_calls(pid) - before
    counts = recording.manifest.probes["syscalls"]["counts"]
    kept = rows(recording, "events")
    assert counts["lost"] > 0
    assert {e["pid"] for e in kept} == {pid}
    assert len(kept) == counts["kept"]
    assert len(kept) + counts["lost"] == counted
    losses = [r["count"] for r in rows(recording, "losses") if r["reason"] == "ring full"]
    assert sum(map(int, losses)) == counts["lost"]  # type: ignore[call-overload]


def test_all_events_of_the_machine_are_kept_lost_or_left_out(tmp_path: Path) -> None:
    recording = recorded(tmp_path / "s", workload("calls", 20_000), events="syscalls", comm=("no-such",))
    counts = recording.manifest.probes["syscalls"]["counts"]
    assert counts["kept"] == 0
    assert counts["filtered"] >= 20_000
    assert counts["seen"] == counts["filtered"] + counts["own"]


def test_the_recorder_does_not_observe_itself_and_counts_what_it_left_out(tmp_path: Path) -> None:
    recording = recorded(tmp_path / "s", workload("sleeps", 0.3), events="syscalls")
    assert not rows(recording, "events", pid=os.getpid())
    own = recording.manifest.probes["syscalls"]["counts"]["own"]
    assert own > 0
    assert sum(int(str(r["count"])) for r in rows(recording, "losses") if r["reason"] == "own") == own


def test_only_the_events_that_were_asked_for_are_kept(tmp_path: Path) -> None:
    recording = recorded(tmp_path / "s", workload("reads", 23), events="read,syscalls:openat")
    assert {e["event"] for e in rows(recording, "events")} == {"read", "openat"}


def test_a_process_tree_is_told_from_fork_to_exit(tmp_path: Path) -> None:
    recording = recorded(
        tmp_path / "s", ["/bin/sh", "-c", "/bin/true; exec /bin/echo done"], events="syscalls"
    )
    pid = command_pid(recording)
    own = [r for r in rows(recording, "tasks") if r["pid"] == pid]
    child = next(r["pid"] for r in rows(recording, "tasks") if r["change"] == "fork" and r["ppid"] == pid)
    changes = [(r["change"], r["comm"]) for r in own]
    assert changes[-3:] == [("exec", "sh"), ("exec", "echo"), ("exit", "echo")]
    assert [r["change"] for r in rows(recording, "tasks", pid=child)] == ["fork", "exec", "exit"]


def test_programs_maps_machine_and_processes_are_read_every_second(tmp_path: Path) -> None:
    recording = recorded(tmp_path / "s", workload("sleeps", 1.2), events="syscalls")
    programs = rows(recording, "bpf_progs")
    own = [p for p in programs if p["own"]]
    assert {str(p["name"]) for p in own} >= {"sys_enter", "sys_exit"}
    readings = Counter(r["prog_id"] for r in rows(recording, "bpf_prog_stats"))
    assert all(readings[p["prog_id"]] >= 2 for p in own)
    runs = [
        int(str(r["run_cnt"])) for r in rows(recording, "bpf_prog_stats") if r["prog_id"] == own[0]["prog_id"]
    ]
    assert runs[-1] > runs[0]
    assert {m["type"] for m in rows(recording, "bpf_maps") if m["own"]} >= {"ringbuf", "percpu_array"}
    assert {r["cpu"] for r in rows(recording, "host")} == {-1, *range(os.cpu_count() or 1)}
    assert command_pid(recording) in {r["pid"] for r in rows(recording, "procs")}


def _wait_for_state(pid: int, state: str) -> None:
    """Until the only thread of a process sleeps, which is in the open of the gate."""
    stat = Path(f"/proc/{pid}/stat")
    while True:
        fields = stat.read_text().rpartition(")")[2].split()
        wchan = Path(f"/proc/{pid}/syscall").read_text().split()[0]
        if fields[0] == state and wchan == str(event_numbers(all_probes()["syscalls"], frozenset({"openat"}))[0]):
            return
