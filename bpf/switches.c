// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  switches
// doc:    one event per context switch, of the thread that leaves the CPU: why it left, and how long it had run
// group:  scheduling
// table:  events
// value:  on-CPU time, ns, since the switch before on this CPU; null for the first one
// key:    tid of the thread that has the CPU from now on; 0 when it is idle
// event:  why preempted sleeping uninterruptible stopped exiting idle_worker other
// attach: raw_tracepoint sched_switch
// cost:   90 ns a switch; a pipe ping-pong takes 1.13 times as long (2-CPU VM)
// needs:  Linux 5.8 with BTF
// kernel: AT_PID task_struct.pid
/*
 * preempted: it could have gone on, which includes sched_yield(); the kernel counts these as involuntary, all others as
 * voluntary. The rest is what ps shows: sleeping S, uninterruptible D, stopped T and t, exiting X, idle_worker I.
 */
#include "tracelab.h"
#include "switch.h"

enum why { PREEMPTED, SLEEPING, SLEEPING_DEAF, STOPPED, EXITING, IDLE_WORKER, OTHER };

struct record {
	u64 time_ns;
	u64 value;
	u64 key;
	u32 pid;
	u32 tid;
	u32 weight;
	u16 cpu;
	u16 why;
};

BPF_PERCPU_ARRAY(last_switch, u64, 1);

INLINE u32 why_of(u32 state)
{
	if (state & DEAD)
		return EXITING;
	if (state & INTERRUPTIBLE)
		return SLEEPING;
	if (state & UNINTERRUPTIBLE)
		return state & NOLOAD ? IDLE_WORKER : SLEEPING_DEAF;
	return state & STOPPED_OR_TRACED ? STOPPED : OTHER;
}

RAW_TRACEPOINT_PROBE(sched_switch)
{
	u64 pid_tgid = bpf_get_current_pid_tgid(), now = bpf_ktime_get_ns(), before;
	u64 next = ctx->args[2];
	u32 tid = pid_tgid, state, why, weight;
	struct account *account;
	struct record *record;
	int zero = 0;
	u64 *last = last_switch.lookup(&zero);

	if (!last)
		return 0;
	before = *last;
	*last = now;
	if (!tid) {
		account = seen();
		if (account)
			COUNT(account->idle);
		return 0;
	}
	account = asked(pid_tgid);
	if (!account)
		return 0;
	state = STATE_LEFT_IN(ctx);
	why = state ? why_of(state) : PREEMPTED;
	if (!EVENT_ASKED(why) || !DURATION_ASKED(before ? now - before : 0))
		return filtered(account);
	weight = weight_of(account, why);
	if (!weight)
		return 0;
	record = reserve(account, sizeof(*record));
	if (!record)
		return 0;
	record->time_ns = now;
	record->value = before ? now - before : ~0ULL;
	record->key = READ(u32, next, AT_PID);
	record->pid = pid_tgid >> 32;
	record->tid = tid;
	record->weight = weight;
	record->cpu = bpf_get_smp_processor_id();
	record->why = why;
	keep(account, record);
	return 0;
}
