"""A tracer that does everything wrong: it prints a line for every system call of every process.

bpftrace where it is installed and tracefs can be had, else a small program of our own with the same mistake.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tracelab.errors import CannotRecord
from tracelab.recorder import introspect
from tracelab.recorder.loader import import_bcc, own_headers

TRACEFS = Path("/sys/kernel/tracing")
ONE_LINER = 'tracepoint:raw_syscalls:sys_enter { printf("%d %s %d\\n", pid, comm, args->id); }'
READY_S = 20.0
TEXT = r"""
struct event { u32 pid; u32 nr; char comm[16]; };
BPF_PERF_OUTPUT(events);
RAW_TRACEPOINT_PROBE(sys_enter)
{
    struct event event = {};
    event.pid = bpf_get_current_pid_tgid() >> 32;
    event.nr = ctx->args[1];
    bpf_get_current_comm(&event.comm, sizeof(event.comm));
    events.perf_submit(ctx, &event, sizeof(event));
    return 0;
}
"""


@contextlib.contextmanager
def careless_tracer(bpftrace: str | None = shutil.which("bpftrace")) -> Iterator[str]:
    """Run the tracer meanwhile; yields its name. Raises CannotRecord when it does not come up."""
    with contextlib.ExitStack() as cleanup:
        if bpftrace and _tracefs(cleanup):
            name, command = "bpftrace", [bpftrace, "-e", ONE_LINER]
        else:
            name, command = "careless_tracer", [sys.executable, "-m", __name__]
        before = set(introspect.ids("prog"))
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        cleanup.callback(_end, process)
        until = time.monotonic() + READY_S
        while not set(introspect.ids("prog")) - before:
            if process.poll() is not None or time.monotonic() > until:
                raise CannotRecord(f"{name} did not come up; run {' '.join(command)!r} to see why")
            time.sleep(0.05)
        time.sleep(0.2)
        yield name


def main() -> None:
    """The tracer of our own: a callback, a decoded object and a line of text for every event."""
    with own_headers():
        program = import_bcc().BPF(text=TEXT, cflags=["-w"])
    events = program["events"]

    def on_event(cpu: int, data: object, size: int) -> None:
        event = events.event(data)
        print(event.pid, event.comm.decode("utf-8", "replace"), event.nr)

    events.open_perf_buffer(on_event, page_cnt=64, lost_cb=lambda _lost: None)
    while True:
        program.perf_buffer_poll()


def _tracefs(cleanup: contextlib.ExitStack) -> bool:
    """Whether tracefs is mounted; mounts it for the time being where it is not."""
    if (TRACEFS / "events").is_dir():
        return True
    if subprocess.run(["mount", "-t", "tracefs", "tracefs", TRACEFS], capture_output=True).returncode:
        return False
    cleanup.callback(lambda: subprocess.run(["umount", TRACEFS], capture_output=True))
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
