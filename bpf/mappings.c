// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  mappings
// doc:    one event per call by which a process got memory mapped, or gave it back: mmap, munmap, mremap, brk
// group:  memory
// table:  events
// value:  growth, bytes, of the address space that the call made, in whole pages; negative when it shrank, 0 when it failed
// ret:    0, or a negative errno; of brk -12 (ENOMEM) when it could not be moved as asked
// size:   bytes of the whole address space afterwards, which ps calls VSZ
// key:    address of what was mapped or given back; for brk its new end
// event:  call mmap mmap_file munmap mremap brk
// attach: tracepoint syscalls:sys_exit_mmap, tracepoint syscalls:sys_exit_munmap, tracepoint syscalls:sys_exit_mremap, tracepoint syscalls:sys_enter_brk, tracepoint syscalls:sys_exit_brk
// or:     raw_tracepoint sys_enter, raw_tracepoint sys_exit
// needs:  Linux 5.15 with BTF
// cost:   170 ns a call of these, and 10 to 30 ns of every other system call; on a VM with 2 CPUs
// kernel: AT_MM task_struct.mm, AT_TOTAL_VM mm_struct.total_vm, AT_BRK mm_struct.brk
/*
 * mmap is memory without a file. What is mapped over something else (MAP_FIXED) replaces it, and counts in full; what
 * is given back counts as long as asked, also where nothing was. The size is exact, so its course tells what really
 * happened. A brk that only asks where the end is, is an event that grew by 0.
 */
#include "tracelab.h"
#include "calls.h"
#include <asm/page.h>

#ifndef SLOTS
#define SLOTS 32768 /* a power of two; as many as there can be threads, so that none shares a slot */
#endif
#define MAP_ANONYMOUS 0x20
#define NO_MEMORY -12
#define IN_PAGES(bytes) (((bytes) + PAGE_SIZE - 1) & ~(u64)(PAGE_SIZE - 1))

enum call { MMAP, MMAP_FILE, MUNMAP, MREMAP, BRK };

struct record {
	u64 time_ns;
	s64 value;
	s64 ret;
	u64 size_bytes;
	u64 key;
	u32 pid;
	u32 tid;
	u32 weight;
	u16 cpu;
	u16 call;
};

struct slot {
	u64 brk;
	u32 tid;
	u32 unused;
};
BPF_ARRAY(slots, struct slot, SLOTS);

INLINE int take(u32 call, u64 mm, s64 growth, s64 ret, u64 key)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	struct account *account = asked(pid_tgid);
	struct record *record;
	u32 weight;

	if (!account)
		return 0;
	if (!EVENT_ASKED(call) || !RESULT_ASKED(ret))
		return filtered(account);
	weight = weight_of(account, call);
	if (!weight)
		return 0;
	record = reserve(account, sizeof(*record));
	if (!record)
		return 0;
	record->time_ns = bpf_ktime_get_ns();
	record->value = growth;
	record->ret = ret;
	record->size_bytes = PAGE_SIZE * READ(u64, mm, AT_TOTAL_VM);
	record->key = key;
	record->pid = pid_tgid >> 32;
	record->tid = pid_tgid;
	record->weight = weight;
	record->cpu = bpf_get_smp_processor_id();
	record->call = call;
	keep(account, record);
	return 0;
}

#define FAILED(ret) ((u64)(ret) >= (u64)-4095LL)

INLINE u64 mm_of_current(void)
{
	return READ(u64, bpf_get_current_task(), AT_MM);
}

INLINE int mapped(u64 regs, s64 ret)
{
	u32 call = ARGUMENT4(regs) & MAP_ANONYMOUS ? MMAP : MMAP_FILE;
	u64 bytes = IN_PAGES(ARGUMENT2(regs));

	return FAILED(ret) ? take(call, mm_of_current(), 0, ret, ARGUMENT1(regs))
			   : take(call, mm_of_current(), bytes, 0, ret);
}

INLINE int unmapped(u64 regs, s64 ret)
{
	s64 bytes = IN_PAGES(ARGUMENT2(regs));

	return take(MUNMAP, mm_of_current(), ret ? 0 : -bytes, ret, ARGUMENT1(regs));
}

INLINE int remapped(u64 regs, s64 ret)
{
	s64 bytes = IN_PAGES(ARGUMENT3(regs)) - IN_PAGES(ARGUMENT2(regs));

	return FAILED(ret) ? take(MREMAP, mm_of_current(), 0, ret, ARGUMENT1(regs))
			   : take(MREMAP, mm_of_current(), bytes, 0, ret);
}

INLINE int before_brk(void)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	u32 index = (u32)pid_tgid & (SLOTS - 1);
	struct slot *slot = slots.lookup(&index);

	if (!slot)
		return 0;
	slot->tid = pid_tgid;
	slot->brk = READ(u64, mm_of_current(), AT_BRK);
	return 0;
}

/* The call returns the end, moved or not. */
INLINE int after_brk(u64 regs, u64 ret)
{
	u32 tid = bpf_get_current_pid_tgid(), index = tid & (SLOTS - 1);
	struct slot *slot = slots.lookup(&index);
	s64 growth = 0;

	if (slot && slot->tid == tid && slot->brk)
		growth = IN_PAGES(ret) - IN_PAGES(slot->brk);
	return take(BRK, mm_of_current(), growth, ARGUMENT1(regs) > ret ? NO_MEMORY : 0, ret);
}

#if WAY == 0
ON_EXIT(mmap)
{
	return mapped(REGS_OF_CURRENT(), ctx->ret);
}

ON_EXIT(munmap)
{
	return unmapped(REGS_OF_CURRENT(), ctx->ret);
}

ON_EXIT(mremap)
{
	return remapped(REGS_OF_CURRENT(), ctx->ret);
}

ON_ENTER(brk)
{
	return before_brk();
}

ON_EXIT(brk)
{
	return after_brk(REGS_OF_CURRENT(), ctx->ret);
}
#else
#ifdef __x86_64__
#define MMAP_NR 9
#define MUNMAP_NR 11
#define BRK_NR 12
#define MREMAP_NR 25
#else
#define MMAP_NR 222
#define MUNMAP_NR 215
#define BRK_NR 214
#define MREMAP_NR 216
#endif

RAW_TRACEPOINT_PROBE(sys_enter)
{
	return ctx->args[1] == BRK_NR ? before_brk() : 0;
}

RAW_TRACEPOINT_PROBE(sys_exit)
{
	u64 regs = ctx->args[0], ret = ctx->args[1];

	switch (NR_OF(regs)) {
	case MMAP_NR:
		return mapped(regs, ret);
	case MUNMAP_NR:
		return unmapped(regs, ret);
	case MREMAP_NR:
		return remapped(regs, ret);
	case BRK_NR:
		return after_brk(regs, ret);
	}
	return 0;
}
#endif
