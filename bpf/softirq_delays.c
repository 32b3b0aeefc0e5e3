// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  softirq_delays
// doc:    one event per soft interrupt that begins to run: how long it was due
// group:  interrupts
// table:  events
// value:  delay, ns, from when it was first raised until it runs; null when that was not seen
// event:  number hi timer net_tx net_rx block irq_poll tasklet sched hrtimer rcu
// attach: raw_tracepoint softirq_raise, raw_tracepoint softirq_entry
// cost:   130 ns a run of a handler, both programs, where each is raised once (BPF run statistics, on a busy VM with 2 CPUs)
// needs:  Linux 5.8
/* The thread is the one that is interrupted, or ksoftirqd. */
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

BPF_PERCPU_ARRAY(raised, struct begun, 16);

RAW_TRACEPOINT_PROBE(softirq_raise)
{
	u32 vector = ctx->args[0];
	struct begun *begun = raised.lookup(&vector);

	if (begun && !begun->start_ns)
		begin(begun, vector);
	return 0;
}

RAW_TRACEPOINT_PROBE(softirq_entry)
{
	u32 vector = ctx->args[0];

	finish(raised.lookup(&vector), bpf_ktime_get_ns(), vector, NONE, NONE, vector);
	return 0;
}
