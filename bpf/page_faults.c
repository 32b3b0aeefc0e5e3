// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  page_faults
// doc:    one event per page fault that the kernel has dealt with: where, in which mode, with or without IO, and how long
// group:  memory
// table:  events
// value:  duration, ns, from the fault until its page is there, waits for IO included; null where the kernel has no tracepoint for it
// key:    address that was accessed
// event:  kind user_minor user_major kernel_minor kernel_major
// attach: raw_tracepoint page_fault_user, raw_tracepoint page_fault_kernel, perf_event minor-faults, perf_event major-faults
// or:     perf_event minor-faults, perf_event major-faults
// needs:  Linux 5.8
// cost:   220 ns a fault, on a VM with 2 CPUs, where a fault takes 1100 ns without it
/*
 * These are the faults that getrusage(2) counts, but for those without an access: of the memory of another process
 * (execve, ptrace), or of pages that a driver asks for. kernel is the kernel's own access to memory of the process,
 * such as the buffer of a read(). A major fault waited for IO. What ends in SIGSEGV or SIGBUS is no event.
 */
#include "tracelab.h"

#ifndef SLOTS
#define SLOTS 32768 /* a power of two; as many as there can be threads, so that none shares a slot */
#endif

enum kind { MINOR, MAJOR, KERNEL = 2 };

struct record {
	u64 time_ns;
	u64 value;
	u64 key;
	u32 pid;
	u32 tid;
	u32 weight;
	u16 cpu;
	u16 kind;
};

/* struct pt_regs as the kernel exports it */
#ifdef __x86_64__
#define REGISTERS 21
#define IN_USER_MODE(regs) (((regs)[17] & 3) == 3) /* cs */
#else
#define REGISTERS 34
#define IN_USER_MODE(regs) (((regs)[33] & 15) == 0) /* pstate of arm64 */
#endif

struct bpf_perf_event_data {
	u64 regs[REGISTERS];
	u64 sample_period;
	u64 addr;
};

#if WAY == 0
struct slot {
	u64 start_ns;
	u64 address;
	u32 tid;
	u32 unused;
};
BPF_ARRAY(slots, struct slot, SLOTS);

INLINE int begin(u64 address)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	u32 index = (u32)pid_tgid & (SLOTS - 1);
	struct slot *slot;

	if (pid_tgid >> 32 == OWN_TGID || !process_asked(pid_tgid >> 32, pid_tgid))
		return 0; /* counted at its end */
	slot = slots.lookup(&index);
	if (!slot)
		return 0;
	slot->tid = pid_tgid;
	slot->address = address;
	slot->start_ns = bpf_ktime_get_ns();
	return 0;
}

RAW_TRACEPOINT_PROBE(page_fault_user)
{
	return begin(ctx->args[0]);
}

RAW_TRACEPOINT_PROBE(page_fault_kernel)
{
	return begin(ctx->args[0]);
}

INLINE u64 began(u32 tid, u64 address)
{
	u32 index = tid & (SLOTS - 1);
	struct slot *slot = slots.lookup(&index);

	return slot && slot->tid == tid && slot->address == address ? slot->start_ns : 0;
}
#else
#define began(tid, address) 0
#endif

INLINE int end(u64 address, u32 kind)
{
	u64 pid_tgid = bpf_get_current_pid_tgid(), now, start_ns;
	struct account *account = asked(pid_tgid);
	struct record *record;
	u32 weight;

	if (!account)
		return 0;
	now = bpf_ktime_get_ns();
	start_ns = began(pid_tgid, address);
	if (!EVENT_ASKED(kind) || !DURATION_ASKED(start_ns ? now - start_ns : 0))
		return filtered(account);
	weight = weight_of(account, kind);
	if (!weight)
		return 0;
	record = reserve(account, sizeof(*record));
	if (!record)
		return 0;
	record->time_ns = now;
	record->value = start_ns ? now - start_ns : ~0ULL;
	record->key = address;
	record->pid = pid_tgid >> 32;
	record->tid = pid_tgid;
	record->weight = weight;
	record->cpu = bpf_get_smp_processor_id();
	record->kind = kind;
	keep(account, record);
	return 0;
}

int on_minor_faults(struct bpf_perf_event_data *ctx)
{
	return end(ctx->addr, MINOR + (IN_USER_MODE(ctx->regs) ? 0 : KERNEL));
}

int on_major_faults(struct bpf_perf_event_data *ctx)
{
	return end(ctx->addr, MAJOR + (IN_USER_MODE(ctx->regs) ? 0 : KERNEL));
}
