// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  syscalls
// doc:    one event per finished system call, at the time it finished
// table:  events
// value:  duration, ns, from entry to exit; null when it began before the recording
// event:  nr syscall
// attach: raw_tracepoint sys_enter, raw_tracepoint sys_exit
// needs:  Linux 5.8
#include "tracelab.h"

#ifndef SLOTS
#define SLOTS 32768 /* a power of two; as many as there can be threads, so that none shares a slot */
#endif
#ifndef EVENT_ASKED
#define EVENT_ASKED(nr) 1
#endif
#ifdef __x86_64__
#define NR_OFFSET 120 /* pt_regs.orig_ax */
#else
#define NR_OFFSET 280 /* pt_regs.syscallno, arm64 */
#endif

struct record {
	u64 time_ns;
	u64 value; /* all ones when the entry was not seen */
	s64 ret;
	u32 pid;
	u32 tid;
	u32 nr;
	u32 cpu;
};

struct slot {
	u64 start_ns;
	u32 tid;
	u32 nr;
};
BPF_ARRAY(slots, struct slot, SLOTS);

RAW_TRACEPOINT_PROBE(sys_enter)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	u32 tid = pid_tgid;
	u32 pid = pid_tgid >> 32;
	u32 nr = ctx->args[1];
	u32 index = tid & (SLOTS - 1);
	struct slot *slot;

	if (pid == OWN_TGID || !PID_ASKED(pid) || !EVENT_ASKED(nr))
		return 0; /* counted at its exit */
	slot = slots.lookup(&index);
	if (!slot)
		return 0;
	slot->tid = tid;
	slot->nr = nr;
	slot->start_ns = bpf_ktime_get_ns();
	return 0;
}

RAW_TRACEPOINT_PROBE(sys_exit)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	u32 tid = pid_tgid;
	u32 index = tid & (SLOTS - 1);
	u64 start_ns = 0;
	u32 nr = 0;
	struct slot *slot;
	struct record *record;

	if (left_out(pid_tgid))
		return 0;
	slot = slots.lookup(&index);
	if (slot && slot->tid == tid && slot->start_ns) {
		start_ns = slot->start_ns;
		nr = slot->nr;
		slot->start_ns = 0;
	} else {
		bpf_probe_read_kernel(&nr, sizeof(nr), (void *)(ctx->args[0] + NR_OFFSET));
	}
	if (!EVENT_ASKED(nr)) {
		count(FILTERED);
		return 0;
	}
	record = ring.ringbuf_reserve(sizeof(*record));
	if (!record) {
		count(LOST);
		return 0;
	}
	record->time_ns = bpf_ktime_get_ns();
	record->value = start_ns ? record->time_ns - start_ns : ~0ULL;
	record->ret = ctx->args[1];
	record->pid = pid_tgid >> 32;
	record->tid = tid;
	record->nr = nr;
	record->cpu = bpf_get_smp_processor_id();
	ring.ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	count(KEPT);
	return 0;
}
