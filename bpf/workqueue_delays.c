// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  workqueue_delays
// doc:    one event per piece of work that a kernel worker begins: how long it was queued
// group:  interrupts
// table:  events
// value:  delay, ns, from when it was queued until it runs; null when that was not seen
// key:    address of the function that does the work
// function: key
// attach: raw_tracepoint workqueue_queue_work, raw_tracepoint workqueue_execute_start
// cost:   450 ns a piece of work, both programs (BPF run statistics, on a busy VM with 2 CPUs)
// needs:  Linux 5.8 with BTF
// kernel: AT_FUNC work_struct.func
/* The thread is the worker. Work that is delayed on purpose is queued when its timer has expired. */
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

#ifndef QUEUED
#define QUEUED 16384 /* pieces of work at one time; of those beyond, the delay stays unknown */
#endif

BPF_HASH(queued, u64, u64, QUEUED); /* by piece of work: since when, ns */

RAW_TRACEPOINT_PROBE(workqueue_queue_work)
{
	u64 work = ctx->args[2], now = bpf_ktime_get_ns();

	queued.update(&work, &now);
	return 0;
}

RAW_TRACEPOINT_PROBE(workqueue_execute_start)
{
	u64 work = ctx->args[0], now = bpf_ktime_get_ns(), start_ns = 0, *since = queued.lookup(&work);

	if (since) {
		start_ns = *since;
		queued.delete(&work);
	}
	took(now, start_ns, READ(u64, work, AT_FUNC), NONE, 0);
	return 0;
}
