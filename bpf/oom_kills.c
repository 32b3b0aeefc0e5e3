// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  oom_kills
// doc:    one event per process that the kernel kills because memory has run out, of the machine or of a control group
// group:  memory
// table:  events
// value:  resident memory, bytes, of the victim; null where the kernel tells only its number
// ret:    the victim's oom_score_adj; null where the kernel tells only its number
// key:    tid of the thread that asked for memory when there was none
// attach: raw_tracepoint mark_victim
// needs:  Linux 5.8 with BTF
// cost:   3 us a kill, on a VM with 2 CPUs
// kernel: AT_SIGNAL task_struct.signal, AT_MM task_struct.mm, AT_ADJ signal_struct.oom_score_adj
#include "tracelab.h"
#include "task.h"
#include "resident.h"

#define NONE (~0ULL) /* stored as null */

struct record {
	u64 time_ns;
	u64 value;
	u64 ret;
	u64 key;
	u32 pid;
	u32 tid;
	u32 weight;
	u32 cpu;
};

/* Kernels before 6.8, but for some that have it from there, tell the victim's number in place of its task_struct. */
INLINE struct account *victim_asked(u64 victim, int is_task, u32 *pid, u32 *tid)
{
	struct account *account;

	if (is_task) {
		*pid = pid_of((void *)victim);
		*tid = tid_of((void *)victim);
		return asked_about((void *)victim, *pid, *tid);
	}
	*pid = *tid = victim;
	account = seen();
	if (account && !process_asked(*pid, *tid)) {
		COUNT(account->filtered);
		return 0;
	}
	return account;
}

RAW_TRACEPOINT_PROBE(mark_victim)
{
	u64 victim = ctx->args[0], mm;
	int is_task = (s64)victim < 0; /* an address of the kernel */
	struct account *account;
	struct record *record;
	u32 pid, tid, weight;

	account = victim_asked(victim, is_task, &pid, &tid);
	if (!account)
		return 0;
	weight = weight_of(account, 0);
	if (!weight)
		return 0;
	record = reserve(account, sizeof(*record));
	if (!record)
		return 0;
	mm = is_task ? READ(u64, victim, AT_MM) : 0;
	record->time_ns = bpf_ktime_get_ns();
	record->value = mm ? resident_bytes(mm) : NONE;
	record->ret = is_task ? (u64)(s64)READ(s16, READ(u64, victim, AT_SIGNAL), AT_ADJ) : NONE;
	record->key = (u32)bpf_get_current_pid_tgid();
	record->pid = pid;
	record->tid = tid;
	record->weight = weight;
	record->cpu = bpf_get_smp_processor_id();
	keep(account, record);
	return 0;
}
