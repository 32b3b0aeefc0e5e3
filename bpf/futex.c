// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  futex
// doc:    one event per wait for a futex that has ended: what a thread waited for, in most cases a lock, and how long
// group:  signals and locks
// table:  events
// value:  duration, ns, of the wait; null when it began before the recording
// ret:    0 or more when woken; negative errno otherwise: -11 (EAGAIN) had not to wait, -110 (ETIMEDOUT), -512 a signal came
// key:    address that was waited on, in the memory of the process; of several that which was woken; null for none of them
// event:  call wait lock_pi wait_requeue_pi waitv
// attach: tracepoint syscalls:sys_enter_futex, tracepoint syscalls:sys_exit_futex
// also:   tracepoint syscalls:sys_enter_futex_waitv, tracepoint syscalls:sys_exit_futex_waitv, tracepoint syscalls:sys_enter_futex_wait, tracepoint syscalls:sys_exit_futex_wait
// or:     raw_tracepoint sys_enter, raw_tracepoint sys_exit
// needs:  Linux 5.15
// cost:   170 ns a wait, and 10 to 30 ns of every other system call; on a VM with 2 CPUs
/*
 * Those who wake are not told: see probe wakeups, whose samples have the stacks of wakers.
 */
#include "tracelab.h"
#include "calls.h"

#ifndef SLOTS
#define SLOTS 32768 /* a power of two; as many as there can be threads, so that none shares a slot */
#endif
#define NONE (~0ULL)	 /* stored as null */
#define OP_FLAGS 0x180 /* FUTEX_PRIVATE_FLAG, FUTEX_CLOCK_REALTIME */

enum call { WAIT, LOCK_PI, WAIT_REQUEUE_PI, WAITV, NO_WAIT };

struct record {
	u64 time_ns;
	u64 value;
	s64 ret;
	u64 key;
	u32 pid;
	u32 tid;
	u32 weight;
	u16 cpu;
	u16 call;
};

struct slot {
	u64 start_ns;
	u32 tid;
	u32 call;
};
BPF_ARRAY(slots, struct slot, SLOTS);

/* include/uapi/linux/futex.h */
INLINE u32 call_of(u64 op)
{
	switch ((u32)op & ~OP_FLAGS) {
	case 0: case 9: /* FUTEX_WAIT, FUTEX_WAIT_BITSET */
		return WAIT;
	case 6: case 13: /* FUTEX_LOCK_PI, FUTEX_LOCK_PI2 */
		return LOCK_PI;
	case 11:
		return WAIT_REQUEUE_PI;
	}
	return NO_WAIT;
}

INLINE int begin(u32 call)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	u32 index = (u32)pid_tgid & (SLOTS - 1);
	struct slot *slot;

	if (call == NO_WAIT || !EVENT_ASKED(call) || pid_tgid >> 32 == OWN_TGID ||
	    !process_asked(pid_tgid >> 32, pid_tgid))
		return 0; /* counted at its end */
	slot = slots.lookup(&index);
	if (!slot)
		return 0;
	slot->tid = pid_tgid;
	slot->call = call;
	slot->start_ns = bpf_ktime_get_ns();
	return 0;
}

/* Of struct futex_waitv, the address; it has 24 bytes. */
INLINE u64 woken_of(u64 waiters, s64 ret)
{
	u64 address = 0;

	if (ret < 0 || ret >= 128 || bpf_probe_read_user(&address, sizeof(address), (void *)(waiters + 24 * ret + 8)))
		return NONE;
	return address;
}

INLINE int end(u32 call, s64 ret, u64 regs)
{
	u64 pid_tgid = bpf_get_current_pid_tgid(), now = bpf_ktime_get_ns(), duration = NONE;
	u32 index = (u32)pid_tgid & (SLOTS - 1), weight;
	struct account *account;
	struct record *record;
	struct slot *slot;
	u64 address;

	if (call == NO_WAIT)
		return 0;
	account = asked(pid_tgid);
	if (!account)
		return 0;
	slot = slots.lookup(&index);
	if (slot && slot->start_ns && slot->tid == (u32)pid_tgid && slot->call == call) {
		duration = now - slot->start_ns;
		slot->start_ns = 0;
	}
	if (!EVENT_ASKED(call) || !RESULT_ASKED(ret) || !DURATION_ASKED(duration == NONE ? 0 : duration))
		return filtered(account);
	address = call == WAITV ? woken_of(ARGUMENT1(regs), ret) : ARGUMENT1(regs);
	weight = weight_of(account, address);
	if (!weight)
		return 0;
	record = reserve(account, sizeof(*record));
	if (!record)
		return 0;
	record->time_ns = now;
	record->value = duration;
	record->ret = ret;
	record->key = address;
	record->pid = pid_tgid >> 32;
	record->tid = pid_tgid;
	record->weight = weight;
	record->cpu = bpf_get_smp_processor_id();
	record->call = call;
	keep(account, record);
	return 0;
}

#if WAY == 0
ON_ENTER(futex)
{
	return begin(call_of(ctx->args[1]));
}

ON_EXIT(futex)
{
	u64 regs = REGS_OF_CURRENT();

	return end(call_of(ARGUMENT2(regs)), ctx->ret, regs);
}

ON_ENTER(futex_waitv)
{
	return begin(WAITV);
}

ON_EXIT(futex_waitv)
{
	return end(WAITV, ctx->ret, REGS_OF_CURRENT());
}

ON_ENTER(futex_wait)
{
	return begin(WAIT);
}

ON_EXIT(futex_wait)
{
	return end(WAIT, ctx->ret, REGS_OF_CURRENT());
}
#else
#ifdef __x86_64__
#define FUTEX_NR 202
#else
#define FUTEX_NR 98
#endif
#define FUTEX_WAITV_NR 449
#define FUTEX_WAIT_NR 455

INLINE u32 call_with(u32 nr, u64 regs)
{
	if (nr == FUTEX_NR)
		return call_of(ARGUMENT2(regs));
	return nr == FUTEX_WAITV_NR ? WAITV : nr == FUTEX_WAIT_NR ? WAIT : NO_WAIT;
}

RAW_TRACEPOINT_PROBE(sys_enter)
{
	u32 call = call_with(ctx->args[1], ctx->args[0]);

	return call == NO_WAIT ? 0 : begin(call);
}

RAW_TRACEPOINT_PROBE(sys_exit)
{
	u64 regs = ctx->args[0];

	return end(call_with(NR_OF(regs), regs), ctx->args[1], regs);
}
#endif
