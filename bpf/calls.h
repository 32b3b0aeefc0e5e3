/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * For probes of a few system calls. They have two ways to see them:
 *
 *	the tracepoints of these calls alone, which cost every other call of the machine 10 to 30 ns (its slow path),
 *	these calls 110 ns, and 75 ms each when they are detached;
 *	the raw tracepoints of all calls, which cost every other call 50 ns and these 70 ns.
 *
 * So rare calls are better seen in the first way, frequent ones in the second. Calls by io_uring are no system calls,
 * and those of 32-bit programs are not seen in the first way and have other numbers in the second.
 */
#ifndef CALLS_H
#define CALLS_H

/* struct pt_regs */
#ifdef __x86_64__
#define NR_OF(regs) READ(u32, regs, 120) /* orig_ax */
#define ARGUMENT1(regs) READ(u64, regs, 112) /* di */
#define ARGUMENT2(regs) READ(u64, regs, 104) /* si */
#define ARGUMENT3(regs) READ(u64, regs, 96)  /* dx */
#define ARGUMENT4(regs) READ(u64, regs, 56)  /* r10 */
#else
#define NR_OF(regs) READ(u32, regs, 280) /* syscallno of arm64 */
#define ARGUMENT1(regs) READ(u64, regs, 272) /* orig_x0 */
#define ARGUMENT2(regs) READ(u64, regs, 8)
#define ARGUMENT3(regs) READ(u64, regs, 16)
#define ARGUMENT4(regs) READ(u64, regs, 24)
#endif

/* What the tracepoints of a call give, in the layout of the kernel's struct syscall_trace_enter and _exit. */
struct enter {
	u64 common;
	u64 nr;
	u64 args[6];
};
struct leave {
	u64 common;
	u64 nr;
	s64 ret;
};
#define ON_ENTER(call) int tracepoint__syscalls__sys_enter_##call(struct enter *ctx)
#define ON_EXIT(call) int tracepoint__syscalls__sys_exit_##call(struct leave *ctx)

static void *(*task_of_current)(void) = (void *)158;     /* BPF_FUNC_get_current_task_btf */
static long (*registers_of)(void *) = (void *)175;       /* BPF_FUNC_task_pt_regs */

/* The registers with which the thread that runs entered the kernel: its arguments are there until it leaves. */
#define REGS_OF_CURRENT() ((u64)registers_of(task_of_current()))

#endif
