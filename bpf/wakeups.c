// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  wakeups
// doc:    stacks of those who end a wait of 1 ms, or as long as --min-us says, or longer, and whom they woke
// group:  scheduling
// table:  samples
// kind:   wakeup
// value:  ended wait, ns, from when the woken thread blocked until it was woken
// key:    tid of the thread that was woken
// rings:  ring record, deep_ring deep_record
// attach: raw_tracepoint sched_waking, raw_tracepoint sched_switch
// cost:   0.1 us a wakeup, 5 us one that is kept; a pipe ping-pong takes 1.1 times as long (2-CPU VM)
// needs:  Linux 5.15 with BTF
/*
 * The stack is that of the thread that runs at the moment. Where an interrupt woke the other (a timer, a disk, the
 * network), that is whoever it interrupted, thread 0 on an idle CPU, and the stack begins with the interrupt.
 *
 * An event is a waking; filters ask about the woken. It is filtered, too, if that did not wait: it was about to and did
 * not leave its CPU, or did so unseen.
 */
#ifndef DURATION_ASKED
#define DURATION_ASKED(ns) ((ns) >= 1000000) /* stacks of all wakeups cost more than most of them can tell */
#endif
#include "tracelab.h"
#include "task.h"
#include "stack.h"
#include "switch.h"

#ifndef SLOTS
#define SLOTS 32768 /* a power of two; as many as there can be threads, so that none shares a slot */
#endif

struct wait {
	u64 start_ns; /* 0: does not wait */
	u32 tid;
	u32 unused;
};
BPF_ARRAY(waits, struct wait, SLOTS);

RAW_TRACEPOINT_PROBE(sched_switch)
{
	u32 tid = bpf_get_current_pid_tgid();
	u32 index = tid & (SLOTS - 1);
	struct wait *wait = waits.lookup(&index);

	if (!tid || !wait)
		return 0;
	wait->tid = tid;
	wait->start_ns = STATE_LEFT_IN(ctx) ? bpf_ktime_get_ns() : 0;
	return 0;
}

RAW_TRACEPOINT_PROBE(sched_waking)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	void *woken = (void *)ctx->args[0];
	u32 tid = tid_of(woken), index = tid & (SLOTS - 1);
	struct account *account = asked_about(woken, pid_of(woken), tid);
	struct wait *wait;
	u64 waited;
	u32 weight;

	if (!account)
		return 0;
	wait = waits.lookup(&index);
	if (!wait || wait->tid != tid || !wait->start_ns)
		return filtered(account);
	waited = bpf_ktime_get_ns() - wait->start_ns;
	wait->start_ns = 0;
	if (!DURATION_ASKED(waited))
		return filtered(account);
	if (pid_tgid >> 32 == OWN_TGID) {
		COUNT(account->own);
		return 0;
	}
	weight = weight_of(account, 0);
	if (!weight)
		return 0;
	return take_sample(ctx, account, pid_tgid, IN_KERNEL, waited, tid, weight);
}
