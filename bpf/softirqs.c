// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  softirqs
// doc:    one event per run of a soft interrupt's handler, by vector, when it ends
// group:  interrupts
// table:  events
// value:  duration, ns, hard interrupts in between included; null when it began before the recording
// event:  number hi timer net_tx net_rx block irq_poll tasklet sched hrtimer rcu
// attach: raw_tracepoint softirq_entry, raw_tracepoint softirq_exit
// cost:   130 ns a run of a handler, both programs (BPF run statistics, on a busy VM with 2 CPUs)
// needs:  Linux 5.8
/*
 * The thread is the one that was interrupted, or that switched soft interrupts on again, which is how a sender on the
 * loopback device comes to receive; or ksoftirqd.
 */
#define IN_INTERRUPTS
#define HAS_NUMBER
#include "tracelab.h"

struct record {
	u64 time_ns;
	u64 value;
	u32 pid;
	u32 tid;
	u32 weight;
	u16 cpu;
	u16 number;
};

#include "interrupt.h"

BPF_PERCPU_ARRAY(running, struct begun, 1);

RAW_TRACEPOINT_PROBE(softirq_entry)
{
	int zero = 0;

	begin(running.lookup(&zero), ctx->args[0]);
	return 0;
}

RAW_TRACEPOINT_PROBE(softirq_exit)
{
	int zero = 0;

	finish(running.lookup(&zero), bpf_ktime_get_ns(), ctx->args[0], NONE, NONE, ctx->args[0]);
	return 0;
}
