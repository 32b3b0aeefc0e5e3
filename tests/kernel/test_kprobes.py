"""The last way to attach, kprobes. No probe needs them on the kernels we know, so one of the test's own has them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tracelab.errors import ProbeUnavailable
from tracelab.recorder.accounting import COUNTERS
from tracelab.recorder.loader import LoadedProbe, why_not
from tracelab.recorder.probes import bpf_dir, read_probe

SLEEPS = """// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  sleeps
// doc:    one event per sleep of a thread
// group:  scheduling
// table:  events
// value:  duration, ns
// ret:    what the kernel returned
// attach: raw_tracepoint there_is_no_such_tracepoint
// or:     kprobe hrtimer_nanosleep, kretprobe hrtimer_nanosleep
// needs:  Linux 5.8 with kprobes
// cost:   not measured
#include "tracelab.h"
struct record {
	u64 time_ns;
	u64 value;
	s64 ret;
	u32 pid;
	u32 tid;
	u32 weight;
	u32 cpu;
};
struct registers {
	u64 regs[21];
};
BPF_HASH(started, u32, u64);

int kprobe__hrtimer_nanosleep(struct registers *ctx)
{
	u32 tid = bpf_get_current_pid_tgid();
	u64 now = bpf_ktime_get_ns();

	started.update(&tid, &now);
	return 0;
}

int kretprobe__hrtimer_nanosleep(struct registers *ctx)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	u32 tid = pid_tgid;
	struct account *account = asked(pid_tgid);
	u64 *start = started.lookup(&tid);
	struct record *record;

	if (!account)
		return 0;
	if (!start)
		return filtered(account);
	record = reserve(account, sizeof(*record));
	if (!record)
		return 0;
	record->time_ns = bpf_ktime_get_ns();
	record->value = record->time_ns - *start;
	record->ret = (s64)ctx->regs[10];
	record->pid = pid_tgid >> 32;
	record->tid = tid;
	record->weight = 1;
	record->cpu = bpf_get_smp_processor_id();
	keep(account, record);
	return 0;
}
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for header in bpf_dir().glob("*.h"):
        (tmp_path / header.name).symlink_to(header)
    found = tmp_path / "sleeps.c"
    found.write_text(SLEEPS)
    return found


def test_where_there_are_no_tracepoints_kprobes_are_attached_and_gone_afterwards(source: Path) -> None:
    if lacking := why_not("kprobe", "hrtimer_nanosleep"):
        pytest.skip(f"kprobes: {lacking}; `make kernels` runs this where there are some")
    probe = LoadedProbe(read_probe(source), {"OWN_TGID": 0, "PID_ASKED(pid)": f"((pid)=={os.getpid()})"})
    try:
        assert probe.way == 1
        [(_, _, ring)] = probe.rings()
        probe.attach(1)
        for _ in range(7):
            time.sleep(0.003)
        probe.detach()
        records = ring.read()
        counts = dict(zip(COUNTERS, probe.counts().sum(axis=1).tolist(), strict=True))
        time.sleep(0.003)
        assert not len(ring.read())
    finally:
        probe.close()
    mine = records[records["tid"] == os.getpid()]
    assert len(mine) == 7
    assert (mine["value"] >= 2_000_000).all()  # the time to wake up at is reckoned before the call
    assert (mine["ret"] == 0).all()
    assert counts["seen"] == counts["kept"] + counts["lost"] + counts["filtered"]


def test_where_there_are_none_it_is_said_what_each_way_lacks(source: Path) -> None:
    if not why_not("kprobe", "hrtimer_nanosleep"):
        pytest.skip("this kernel has kprobes")
    with pytest.raises(ProbeUnavailable, match=r"no such tracepoint; or .*built without kprobes"):
        LoadedProbe(read_probe(source), {})
