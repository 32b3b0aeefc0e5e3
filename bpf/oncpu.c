// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  oncpu
// doc:    sampled stacks of what runs on each CPU: the kernel's stack, and user registers with a copy of the user stack
// table:  samples
// value:  on-CPU time, ns, that one sample stands for
// attach: perf_event cpu-clock
// needs:  Linux 5.15
#include "tracelab.h"

#ifndef STACK_PAGES
#define STACK_PAGES 4 /* pages of user stack copied from the stack pointer upwards */
#endif
#ifndef DEEP_PAGES
#define DEEP_PAGES 16 /* the same, for processes in the map `deep` */
#endif
#ifndef DEEP_RING_PAGES
#define DEEP_RING_PAGES 4096
#endif
#define KERNEL_FRAMES 127
#define REGISTERS 21
#define USER_MODE 3

/* struct pt_regs of x86-64 as the kernel exports it, as an array: r15 first, ss last. */
#define IP 16
#define CS 17
#define SP 19

struct bpf_perf_event_data {
	u64 regs[REGISTERS];
	u64 sample_period;
	u64 addr;
};

struct head {
	u64 time_ns;
	u32 pid;
	u32 tid;
	u32 cpu;
	s32 kernel_bytes; /* or a negative errno */
	u32 user_ok;      /* whether regs are those of user mode */
	u32 stack_bytes;  /* how much of the user stack was readable */
	u64 kernel[KERNEL_FRAMES];
	u64 regs[REGISTERS];
};

struct record {
	struct head head;
	u8 stack[STACK_PAGES * 4096];
};

struct deep_record {
	struct head head;
	u8 stack[DEEP_PAGES * 4096];
};

BPF_RINGBUF_OUTPUT(deep_ring, DEEP_RING_PAGES);
BPF_HASH(deep, u32, u8, 4096); /* processes whose stacks proved longer than STACK_PAGES */

static void *(*current_task_btf)(void) = (void *)158; /* BPF_FUNC_get_current_task_btf */
static long (*task_pt_regs)(void *) = (void *)175;    /* BPF_FUNC_task_pt_regs */

static inline void fill_head(struct bpf_perf_event_data *ctx, struct head *head, u64 pid_tgid)
{
	head->time_ns = bpf_ktime_get_ns();
	head->pid = pid_tgid >> 32;
	head->tid = pid_tgid;
	head->cpu = bpf_get_smp_processor_id();
	head->stack_bytes = 0;
	if ((ctx->regs[CS] & USER_MODE) == USER_MODE) {
		head->kernel_bytes = 0;
#pragma unroll
		for (int i = 0; i < REGISTERS; i++)
			head->regs[i] = ctx->regs[i];
	} else {
		head->kernel_bytes = bpf_get_stack(ctx, head->kernel, sizeof(head->kernel), 0);
		bpf_probe_read_kernel(head->regs, sizeof(head->regs), (void *)task_pt_regs(current_task_btf()));
	}
	head->user_ok = (head->regs[CS] & USER_MODE) == USER_MODE;
}

/* Copies up to the end of the page, then whole pages, so that a stack that ends soon still gives what it has. */
static inline u32 copy_stack(u8 *to, u64 from, const int pages)
{
	u64 copied = 4096 - (from & 4095);

	asm volatile("" : "+r"(copied));
	if (copied > 4096)
		return 0;
	if (bpf_probe_read_user(to, copied, (void *)from))
		return 0;
	u32 last = copied;
#pragma unroll
	for (int i = 1; i < pages; i++) {
		/* a page that was never touched is not there, and those above it are: it is left as zeros */
		int missing = bpf_probe_read_user(to + copied, 4096, (void *)(from + copied));
		copied += 4096;
		asm volatile("" : "+r"(copied)); /* else clang turns the sum into an `or`, whose range the verifier loses */
		if (!missing)
			last = copied;
	}
	return last;
}

int on_sample(struct bpf_perf_event_data *ctx)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	u32 pid = pid_tgid >> 32;

	if (!pid) {
		count(IDLE);
		return 0;
	}
	if (left_out(pid_tgid))
		return 0;
	if (deep.lookup(&pid)) {
		struct deep_record *record = deep_ring.ringbuf_reserve(sizeof(*record));

		if (!record) {
			count(LOST);
			return 0;
		}
		fill_head(ctx, &record->head, pid_tgid);
		if (record->head.user_ok)
			record->head.stack_bytes = copy_stack(record->stack, record->head.regs[SP], DEEP_PAGES);
		deep_ring.ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	} else {
		struct record *record = ring.ringbuf_reserve(sizeof(*record));

		if (!record) {
			count(LOST);
			return 0;
		}
		fill_head(ctx, &record->head, pid_tgid);
		if (record->head.user_ok)
			record->head.stack_bytes = copy_stack(record->stack, record->head.regs[SP], STACK_PAGES);
		ring.ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	}
	count(KEPT);
	return 0;
}
