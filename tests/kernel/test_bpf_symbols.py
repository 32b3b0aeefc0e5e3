"""Code of the kernel that comes and goes while it is recorded."""

from __future__ import annotations

import os
import time
from pathlib import Path

import tracelab as tl
from recordings import workload
from tracelab.recorder.loader import import_bcc, own_headers
from tracelab.recorder.options import Options
from tracelab.recorder.recording import Recording

#: A program that takes long enough to be sampled, at every system call of one process.
SLOW = r"""
BPF_HASH(seen, u64, u64, 4096);
RAW_TRACEPOINT_PROBE(sys_enter)
{
    if ((bpf_get_current_pid_tgid() >> 32) != ASKED)
        return 0;
    u64 key = ctx->args[1], one = 1;
#pragma unroll
    for (int i = 0; i < 60; i++) {
        u64 next = (key + i * 37) & 4095;
        seen.update(&next, &one);
    }
    return 0;
}
"""


def test_a_program_that_was_loaded_and_unloaded_meanwhile_is_named(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "s", Options(events="oncpu", hz=499)).start()
    try:
        command = recording.run(workload("calls", 100_000_000))
        with own_headers():
            program = import_bcc().BPF(text=SLOW.encode(), cflags=["-w", f"-DASKED={command.pid}"])
        spent_s, until = 0.0, time.monotonic() + 60
        while spent_s < 3 and time.monotonic() < until:
            time.sleep(0.1)
            ticks = Path(f"/proc/{command.pid}/stat").read_text().rpartition(")")[2].split()
            spent_s = (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")
        program.cleanup()  # what was sampled last is looked up when it is gone
        command.kill()
        command.wait()
    finally:
        recording.stop()
    profile = tl.open(tmp_path / "s").select(pid=command.pid).profile()
    named = sum(
        w for stack, w in profile.stacks() if any("raw_tracepoint__sys_enter" in f.symbol for f in stack)
    )
    assert named / profile.total > 0.3
    unnamed = [f for f in profile.frames if f.domain in ("kernel", "bpf") and f.symbol.startswith("[")]
    assert not unnamed
