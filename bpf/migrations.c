// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  migrations
// doc:    one event per move of a thread to another CPU
// group:  scheduling
// table:  events
// value:  time, ns, since the move before of this thread; null for the first one seen
// key:    CPU that it left, times 2^32, plus the CPU that it goes to
// attach: raw_tracepoint sched_migrate_task
// cost:   1 to 2 us a move, too rare to find anything in the cache (2-CPU VM)
// needs:  Linux 5.8 with BTF
// kernel: AT_CPU task_struct.thread_info.cpu|task_struct.cpu
#include "tracelab.h"
#include "task.h"

#ifndef SLOTS
#define SLOTS 32768 /* a power of two; as many as there can be threads, so that none shares a slot */
#endif

struct record {
	u64 time_ns;
	u64 value;
	u64 key;
	u32 pid;
	u32 tid;
	u32 weight;
	u32 cpu; /* which had it moved */
};

struct slot {
	u64 moved_ns;
	u32 tid;
	u32 unused;
};
BPF_ARRAY(slots, struct slot, SLOTS);

RAW_TRACEPOINT_PROBE(sched_migrate_task)
{
	void *task = (void *)ctx->args[0];
	u64 now = bpf_ktime_get_ns(), before = 0;
	u32 tid = tid_of(task), pid = pid_of(task), index = tid & (SLOTS - 1), weight;
	struct account *account = asked_about(task, pid, tid);
	struct slot *slot = slots.lookup(&index);
	struct record *record;

	if (!account)
		return 0;
	if (slot) {
		before = slot->tid == tid ? slot->moved_ns : 0;
		slot->tid = tid;
		slot->moved_ns = now;
	}
	weight = weight_of(account, 0);
	if (!weight)
		return 0;
	record = reserve(account, sizeof(*record));
	if (!record)
		return 0;
	record->time_ns = now;
	record->value = before ? now - before : ~0ULL;
	record->key = (u64)READ(u32, task, AT_CPU) << 32 | (u32)ctx->args[1];
	record->pid = pid;
	record->tid = tid;
	record->weight = weight;
	record->cpu = bpf_get_smp_processor_id();
	keep(account, record);
	return 0;
}
