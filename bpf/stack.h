/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Stacks, for probes whose table is samples: the kernel's own, unwound by the kernel, and the user's as registers with
 * a copy of the stack's memory, which the recorder unwinds. A probe says what it takes with take_sample().
 */
// kernel: AT_MM task_struct.mm?, AT_START_STACK mm_struct.start_stack?, AT_FSBASE task_struct.thread.fsbase?
#ifndef STACK_H
#define STACK_H

#ifndef STACK_PAGES
#define STACK_PAGES 4 /* pages of user stack copied from the stack pointer upwards */
#endif
#ifndef DEEP_PAGES
#define DEEP_PAGES 32 /* the same, for processes in the map `deep` */
#endif
#ifndef DEEP_RING_PAGES
#define DEEP_RING_PAGES 4096
#endif
#define KERNEL_FRAMES 127
#define REGISTERS 21
#define USER_MODE 3

/* Where a thread is sampled. In the interrupt that asks for the sample, what it interrupted is further up the stack. */
#define IN_USER 0
#define IN_KERNEL 1
#define IN_INTERRUPT 2
#define WHERE(regs) (((regs)[CS] & USER_MODE) == USER_MODE ? IN_USER : IN_KERNEL)

/* struct pt_regs of x86-64 as the kernel exports it, as an array: r15 first, ss last. */
#define IP 16
#define CS 17
#define SP 19

struct head {
	u64 time_ns;
	u64 value; /* what one sample stands for, in the unit of the probe */
	u64 key;
	u32 pid;
	u32 tid;
	u32 cpu;
	u32 weight;	  /* events this one stands for */
	s32 kernel_bytes; /* or a negative errno */
	u32 user_ok;	  /* whether regs are those of user mode */
	u32 stack_bytes;  /* how much of the user stack was readable */
	u32 in_interrupt; /* whether the kernel's stack begins in the interrupt that asked for this */
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
BPF_HASH(deep, u32, u8, 16384); /* processes whose stacks proved longer than STACK_PAGES */

static void *(*current_task_btf)(void) = (void *)158; /* BPF_FUNC_get_current_task_btf */
static long (*task_pt_regs)(void *) = (void *)175;    /* BPF_FUNC_task_pt_regs */

#define MAX_STACK (8 << 20) /* what is further above the stack pointer is taken to be something else */

/*
 * Whether the stack of the thread that runs is known to be longer than a copy of STACK_PAGES. The first thread's ends at
 * mm->start_stack; those of C libraries end where the thread's own data begin, to which the FS base points. Other stacks
 * (goroutines, coroutines) are known as long only by the map `deep`.
 */
INLINE int needs_deep_copy(u32 pid)
{
	if (deep.lookup(&pid))
		return 1;
#if defined(AT_MM) && defined(AT_START_STACK)
	u64 task = (u64)current_task_btf();
	u64 mm = READ(u64, task, AT_MM);
	u64 sp = READ(u64, task_pt_regs((void *)current_task_btf()), SP * 8);
	u64 length;

	if (!mm)
		return 0;
	length = READ(u64, mm, AT_START_STACK) - sp;
	if (length < MAX_STACK)
		return length > (STACK_PAGES - 1) * 4096;
#ifdef AT_FSBASE
	length = READ(u64, task, AT_FSBASE) - sp;
	return length < MAX_STACK && length > (STACK_PAGES - 1) * 4096;
#endif
#endif
	return 0;
}

/* Who, when, both register sets; the kernel's stack as seen from `ctx`. */
INLINE void fill_head(void *ctx, struct head *head, u64 pid_tgid, int where)
{
	head->in_interrupt = where == IN_INTERRUPT;
	head->time_ns = bpf_ktime_get_ns();
	head->pid = pid_tgid >> 32;
	head->tid = pid_tgid;
	head->cpu = bpf_get_smp_processor_id();
	head->stack_bytes = 0;
	head->kernel_bytes = where == IN_USER ? 0 : bpf_get_stack(ctx, head->kernel, sizeof(head->kernel), 0);
	bpf_probe_read_kernel(head->regs, sizeof(head->regs), (void *)task_pt_regs(current_task_btf()));
	head->user_ok = (head->regs[CS] & USER_MODE) == USER_MODE;
}

/* Copies up to the end of the page, then whole pages, so that a stack that ends soon still gives what it has. */
INLINE u32 copy_stack(u8 *to, u64 from, const int pages)
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

/* A whole sample of the thread that runs, with `value` of the probe's unit; always returns 0. */
INLINE int take_sample(void *ctx, struct account *account, u64 pid_tgid, int where, u64 value, u64 key, u32 weight)
{
	u32 pid = pid_tgid >> 32;

	if (needs_deep_copy(pid)) {
		struct deep_record *record = deep_ring.ringbuf_reserve(sizeof(*record));

		if (!record) {
			COUNT(account->lost);
			return 0;
		}
		record->head.value = value;
		record->head.key = key;
		record->head.weight = weight;
		fill_head(ctx, &record->head, pid_tgid, where);
		if (record->head.user_ok)
			record->head.stack_bytes = copy_stack(record->stack, record->head.regs[SP], DEEP_PAGES);
		deep_ring.ringbuf_submit(record, BPF_RB_NO_WAKEUP);
		COUNT(account->kept);
	} else {
		struct record *record = reserve(account, sizeof(*record));

		if (!record)
			return 0;
		record->head.value = value;
		record->head.key = key;
		record->head.weight = weight;
		fill_head(ctx, &record->head, pid_tgid, where);
		if (record->head.user_ok)
			record->head.stack_bytes = copy_stack(record->stack, record->head.regs[SP], STACK_PAGES);
		keep(account, record);
	}
	return 0;
}

#endif
