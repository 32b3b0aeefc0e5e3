// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  workqueues
// doc:    one event per piece of work that a kernel worker has done, when it is done
// group:  interrupts
// table:  events
// value:  duration, ns, waits in between included; null when it began before the recording
// key:    address of the function that did the work
// function: key
// attach: raw_tracepoint workqueue_execute_start, raw_tracepoint workqueue_execute_end
// cost:   430 ns a piece of work, both programs (BPF run statistics, on a busy VM with 2 CPUs)
// needs:  Linux 5.8
/* The thread is the worker; for work of a bottom half, since Linux 6.9, the one that was interrupted. */
#define IN_INTERRUPTS
#define HAS_KEY
#include "tracelab.h"

struct record {
	u64 time_ns;
	u64 value;
	u64 key;
	u32 pid;
	u32 tid;
	u32 weight;
	u16 cpu;
};

#include "interrupt.h"

#ifndef UNDER_WAY
#define UNDER_WAY 16384 /* pieces of work at one time; of those beyond, the duration stays unknown */
#endif

struct piece {
	u64 work;
	u64 tid; /* since a function may free its piece of work, whose place may be used again at once */
};

BPF_HASH(under_way, struct piece, u64, UNDER_WAY); /* since when, ns */

RAW_TRACEPOINT_PROBE(workqueue_execute_start)
{
	u64 work = ctx->args[0];
	struct piece piece = {.work = work, .tid = (u32)bpf_get_current_pid_tgid()};
	u64 now = bpf_ktime_get_ns();

	under_way.update(&piece, &now);
	return 0;
}

/* The function is an argument since Linux 5.6: the piece of work may be gone by now (1c5da0ec7f20). */
RAW_TRACEPOINT_PROBE(workqueue_execute_end)
{
	u64 work = ctx->args[0], now = bpf_ktime_get_ns(), start_ns = 0, *begun;
	struct piece piece = {.work = work, .tid = (u32)bpf_get_current_pid_tgid()};

	begun = under_way.lookup(&piece);
	if (begun) {
		start_ns = *begun;
		under_way.delete(&piece);
	}
	took(now, start_ns, ctx->args[1], NONE, 0);
	return 0;
}
