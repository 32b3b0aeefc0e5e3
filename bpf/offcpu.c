// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  offcpu
// doc:    stacks of threads that waited for 1 ms, or as long as --min-us says, or longer: where, and for how long
// group:  scheduling
// table:  samples
// kind:   off-CPU
// value:  off-CPU time, ns, from when the thread blocked until it ran again, its wait in a run queue included
// key:    state in which the thread waited, bits as in the kernel: 1 interruptible, 2 uninterruptible
// rings:  ring record, deep_ring deep_record
// attach: raw_tracepoint sched_switch
// cost:   1.4 us a wait, 0.2 us if sampled out, 0.1 us other switches; a pipe ping-pong takes 2.3 times as long (2-CPU VM)
// needs:  Linux 5.15 with BTF
// kernel: AT_PID task_struct.pid
/*
 * Where a thread blocks can be seen when it leaves its CPU, for how long when it comes back. So its stack is taken at
 * the first moment, into a slot, and goes to the ring at the second, if the wait was long enough. A thread that was
 * preempted waited for nothing but a CPU, which is what runqueue tells. One that never comes back gives no event.
 *
 * An event is a thread's return to a CPU. It is filtered, too, if the thread was preempted, or blocked unseen.
 */
#ifndef DURATION_ASKED
#define DURATION_ASKED(ns) ((ns) >= 1000000) /* stacks of all waits cost more than most of the short ones can tell */
#endif
#include "tracelab.h"
#include "stack.h"
#include "switch.h"

#ifndef SLOTS
#define SLOTS 32768 /* a power of two; as many as there can be threads, so that none shares a slot */
#endif
#ifndef STACKS
#define STACKS 1024 /* a power of two: slots for stacks, which threads share; the one that blocked last has it */
#endif
#ifndef DEEP_STACKS
#define DEEP_STACKS 128 /* the same, for stacks that need a deep copy */
#endif
#define STACK_REPLACED -116 /* -ESTALE */

enum what { NOT_ASKED, OWN, SAMPLED_OUT, TAKEN, TAKEN_DEEP };

struct wait {
	u64 start_ns; /* 0: does not wait */
	u32 tid;
	u32 pid;
	u32 state;
	u32 weight;
	u32 what;
};
BPF_ARRAY(waits, struct wait, SLOTS);
BPF_ARRAY(stacks, struct record, STACKS);
BPF_ARRAY(deep_stacks, struct deep_record, DEEP_STACKS);

/* A thread leaves its CPU; its stack stays behind, and time_ns and tid tell whose it is. */
INLINE void leave(void *ctx, u32 state)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	u32 tid = pid_tgid, pid = pid_tgid >> 32, index = tid & (SLOTS - 1);
	struct account counted_at_return = {};
	struct wait *wait;

	if (!tid)
		return;
	wait = waits.lookup(&index);
	if (!wait)
		return;
	wait->tid = tid;
	wait->pid = pid;
	wait->what = pid == OWN_TGID ? OWN : NOT_ASKED;
	wait->state = state;
	if (!state || state & DEAD || pid == OWN_TGID || !current_asked(pid, tid))
		return;
	wait->what = SAMPLED_OUT;
	wait->weight = weight_of(&counted_at_return, 0);
	if (!wait->weight)
		return;
	wait->start_ns = bpf_ktime_get_ns();
	if (needs_deep_copy(pid)) {
		u32 place = tid & (DEEP_STACKS - 1);
		struct deep_record *slot = deep_stacks.lookup(&place);

		wait->what = TAKEN_DEEP;
		if (!slot)
			return;
		fill_head(ctx, &slot->head, pid_tgid, IN_KERNEL);
		if (slot->head.user_ok)
			slot->head.stack_bytes = copy_stack(slot->stack, slot->head.regs[SP], DEEP_PAGES);
		slot->head.time_ns = wait->start_ns;
	} else {
		u32 place = tid & (STACKS - 1);
		struct record *slot = stacks.lookup(&place);

		wait->what = TAKEN;
		if (!slot)
			return;
		fill_head(ctx, &slot->head, pid_tgid, IN_KERNEL);
		if (slot->head.user_ok)
			slot->head.stack_bytes = copy_stack(slot->stack, slot->head.regs[SP], STACK_PAGES);
		slot->head.time_ns = wait->start_ns;
	}
}

INLINE int is_of(struct head *head, struct wait *wait)
{
	return head->time_ns == wait->start_ns && head->tid == wait->tid;
}

/* Completes a copy of a slot; without its stack when that is another's. */
INLINE void complete(struct head *head, struct wait *wait, u64 now, int whole)
{
	head->time_ns = now;
	head->value = now - wait->start_ns;
	head->key = wait->state;
	head->pid = wait->pid;
	head->tid = wait->tid;
	head->cpu = bpf_get_smp_processor_id();
	head->weight = wait->weight;
	if (!whole) {
		head->kernel_bytes = STACK_REPLACED;
		head->user_ok = 0;
		head->stack_bytes = 0;
	}
}

INLINE void come_back(struct account *account, u32 tid)
{
	u32 index = tid & (SLOTS - 1);
	struct wait *wait = waits.lookup(&index);

	if (!wait || wait->tid != tid) {
		filtered(account);
		return;
	}
	u32 what = wait->what;
	u64 now = bpf_ktime_get_ns();

	wait->what = NOT_ASKED;
	if (what == OWN) {
		COUNT(account->own);
	} else if (what == SAMPLED_OUT) {
		COUNT(account->sampled_out);
	} else if (what == NOT_ASKED || !DURATION_ASKED(now - wait->start_ns)) {
		filtered(account);
	} else if (what == TAKEN) {
		u32 place = tid & (STACKS - 1);
		struct record *slot = stacks.lookup(&place);
		struct record *record = reserve(account, sizeof(*record));

		if (!record)
			return;
		bpf_probe_read_kernel(record, sizeof(*record), slot);
		complete(&record->head, wait, now, slot && is_of(&record->head, wait) && is_of(&slot->head, wait));
		keep(account, record);
	} else {
		u32 place = tid & (DEEP_STACKS - 1);
		struct deep_record *slot = deep_stacks.lookup(&place);
		struct deep_record *record = deep_ring.ringbuf_reserve(sizeof(*record));

		if (!record) {
			COUNT(account->lost);
			return;
		}
		bpf_probe_read_kernel(record, sizeof(*record), slot);
		complete(&record->head, wait, now, slot && is_of(&record->head, wait) && is_of(&slot->head, wait));
		deep_ring.ringbuf_submit(record, BPF_RB_NO_WAKEUP);
		COUNT(account->kept);
	}
}

RAW_TRACEPOINT_PROBE(sched_switch)
{
	u64 next = ctx->args[2];
	u32 tid = READ(u32, next, AT_PID);
	struct account *account = seen();

	leave(ctx, STATE_LEFT_IN(ctx));
	if (!account)
		return 0;
	if (!tid) {
		COUNT(account->idle);
		return 0;
	}
	come_back(account, tid);
	return 0;
}
