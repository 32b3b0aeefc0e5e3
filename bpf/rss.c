// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  rss
// doc:    one event whenever the resident memory of a process has drifted 16 MiB from what the event before told
// group:  memory
// table:  events
// value:  resident memory, bytes; since Linux 6.2 less exact by up to 32 pages a CPU and kind of memory
// size:   drift, bytes, since the event before; negative when memory was given back
// attach: raw_tracepoint rss_stat
// also:   raw_tracepoint exit_mmap
// needs:  Linux 5.8 with BTF
// cost:   80 ns a change, of which there is one for each page fault, on a VM with 2 CPUs
// kernel: AT_MM task_struct.mm, AT_OWNER mm_struct.owner?
/*
 * The kernel tells of every change, which are as many as page faults; an event is only what has drifted far, of a
 * process that was asked for by its number, or of all. The first of a process tells all that it has, as soon as that is
 * 16 MiB. Changes that the kernel makes (reclaim), or a child of vfork(2), are the owner's; what is freed when a process
 * ends is no event. Kernels before 6.1 do not tell when a memory is gone: the first drift of a process may be told from the last
 * of one before.
 */
#include "tracelab.h"
#include "task.h"
#include "resident.h"

#ifndef DRIFT_BYTES
#define DRIFT_BYTES (16 << 20)
#endif
#ifndef MEMORIES
#define MEMORIES 16384 /* processes at one time; of those beyond, some tell all that they have again */
#endif

struct record {
	u64 time_ns;
	u64 value;
	s64 size_bytes;
	u32 pid;
	u32 tid;
	u32 weight;
	u32 cpu;
};

BPF_TABLE("lru_hash", u64, s64, told, MEMORIES); /* bytes, by mm_struct */

RAW_TRACEPOINT_PROBE(rss_stat)
{
	u64 pid_tgid = bpf_get_current_pid_tgid(), current = bpf_get_current_task(), mm = ctx->args[0], owner = 0;
	s64 bytes = resident_bytes(mm), drift = bytes;
	s64 *last = told.lookup(&mm);
	struct account *account;
	struct record *record;
	u32 weight, pid, tid;

	if (last)
		drift -= *last;
	if (drift < DRIFT_BYTES && drift > -DRIFT_BYTES)
		return 0;
#ifdef AT_OWNER
	owner = READ(u64, mm, AT_OWNER);
#endif
	pid = pid_tgid >> 32;
	tid = pid_tgid;
	if (READ(u64, current, AT_MM) == mm && (!owner || pid_of((void *)owner) == pid)) {
		owner = 0; /* its own thread is told, not the first of its process */
	} else if (!owner) {
		told.delete(&mm);
		return 0;
	} else {
		if (owner != current && tid_of((void *)owner) == tid)
			return 0; /* a child that is being made has its parent's number still; it tells all when it runs */
		pid = pid_of((void *)owner);
		tid = tid_of((void *)owner);
	}
	if (!process_asked(pid, tid))
		return 0;
	told.update(&mm, &bytes);
	account = owner ? asked_about((void *)owner, pid, tid) : asked(pid_tgid);
	if (!account)
		return 0;
	weight = weight_of(account, pid);
	if (!weight)
		return 0;
	record = reserve(account, sizeof(*record));
	if (!record)
		return 0;
	record->time_ns = bpf_ktime_get_ns();
	record->value = bytes > 0 ? bytes : 0;
	record->size_bytes = drift;
	record->pid = pid;
	record->tid = tid;
	record->weight = weight;
	record->cpu = bpf_get_smp_processor_id();
	keep(account, record);
	return 0;
}

RAW_TRACEPOINT_PROBE(exit_mmap)
{
	u64 mm = ctx->args[0];

	told.delete(&mm);
	return 0;
}
