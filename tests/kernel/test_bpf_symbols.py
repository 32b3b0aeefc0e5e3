"""Code of the kernel that comes and goes while it is recorded."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path

import pytest

import tracelab as tl
from recordings import workload
from tracelab.recorder import tracefs
from tracelab.recorder.loader import import_bcc, own_headers, why_not
from tracelab.recorder.options import Options
from tracelab.recorder.recording import Recording

#: A program that takes long enough to be sampled, at every system call of one process.
SLOW = r"""
BPF_HASH(seen, u64, u64, 4096);
BPF_ARRAY(asked, u32, 1);
int slow_on_enter(void *ctx)
{
    int zero = 0;
    u32 *pid = asked.lookup(&zero);
    if (!pid || (bpf_get_current_pid_tgid() >> 32) != *pid)
        return 0;
    u64 key = bpf_ktime_get_ns(), one = 1;
#pragma unroll
    for (int i = 0; i < 60; i++) {
        u64 next = (key + i * 37) & 4095;
        seen.update(&next, &one);
    }
    return 0;
}
"""


def cpu_seconds(pid: int) -> float:
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("kind", ["raw_tracepoint", "tracepoint", "kprobe"])
def test_a_program_that_was_loaded_and_unloaded_meanwhile_is_sampled_and_named(
    tmp_path: Path, kind: str
) -> None:
    if kind == "kprobe" and (missing := why_not("kprobe", "__x64_sys_getppid")):
        pytest.skip(f"no kprobes here: {missing}")
    bcc = import_bcc()
    with own_headers():
        program = bcc.BPF(text=SLOW.encode(), cflags=["-w"])
    recording = Recording(tmp_path / "s", Options(events="oncpu", hz=99)).start()
    try:
        command = recording.run(workload("calls", 100_000_000))
        program[b"asked"][ctypes.c_int(0)] = ctypes.c_uint32(command.pid)
        program.load_func(b"slow_on_enter", getattr(bcc.BPF, kind.upper()))
        match kind:
            case "raw_tracepoint":
                program.attach_raw_tracepoint(tp=b"sys_enter", fn_name=b"slow_on_enter")
            case "tracepoint":  # while one of these or of the next runs, the kernel runs none at perf events
                tracefs.mount()
                program.attach_tracepoint(tp=b"raw_syscalls:sys_enter", fn_name=b"slow_on_enter")
            case "kprobe":
                program.attach_kprobe(event=b"__x64_sys_getppid", fn_name=b"slow_on_enter")
        began_s, until = cpu_seconds(command.pid), time.monotonic() + 60
        while cpu_seconds(command.pid) < began_s + 3 and time.monotonic() < until:
            time.sleep(0.1)
        program.cleanup()  # what was sampled last is looked up when it is gone
        command.kill()
        command.wait()
    finally:
        recording.stop()
    profile = tl.open(tmp_path / "s").select(pid=command.pid).profile()
    named = sum(w for stack, w in profile.stacks() if any("slow_on_enter" in f.symbol for f in stack))
    assert named / profile.total > 0.3
    unnamed = [f for f in profile.frames if f.domain in ("kernel", "bpf") and f.symbol.startswith("[")]
    assert not unnamed
    assert not {f.symbol for f in profile.frames} & {"hrtimer_interrupt", "__hrtimer_run_queues"}
    assert profile.complete_share is not None
    assert profile.complete_share > 0.9
