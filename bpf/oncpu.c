// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  oncpu
// doc:    sampled stacks of what runs on each CPU: the kernel's stack, and user registers with a copy of the user stack
// group:  on-CPU
// table:  samples
// kind:   on-CPU
// value:  on-CPU time, ns, that one sample stands for
// rings:  ring record, deep_ring deep_record
// attach: perf_event cpu-clock
// also:   raw_tracepoint hrtimer_expire_entry, raw_tracepoint hrtimer_expire_exit
// needs:  Linux 5.15
// cost:   5 us a sample, and 150 ns for every high-resolution timer that expires (BPF run statistics, on a busy VM with 2 CPUs)
/*
 * The kernel runs no program of a perf event while one at a tracepoint, kprobe or uprobe runs on that CPU: just what
 * a tracer costs would never be sampled. So two more programs watch the clock's own timer. When it has expired and
 * nothing was sampled, the second, to which that does not apply, takes the sample from inside of the same interrupt.
 */
#include "tracelab.h"
#include "stack.h"

#ifndef PERIOD
#define PERIOD 0 /* ns between two samples of a busy CPU */
#endif

struct bpf_perf_event_data {
	u64 regs[REGISTERS];
	u64 sample_period;
	u64 addr;
};

struct clock {
	u64 timer;   /* that is expiring; 0 when what it asks for has been taken */
	u64 sampler; /* the timer of this CPU's event */
};
BPF_PERCPU_ARRAY(clocks, struct clock, 1);

INLINE struct clock *clock(void)
{
	int zero = 0;

	return clocks.lookup(&zero);
}

INLINE int sample(void *ctx, int where)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	struct account *account;

	if (!(u32)pid_tgid) {
		account = seen();
		if (account)
			COUNT(account->idle);
		return 0;
	}
	account = asked(pid_tgid);
	if (!account)
		return 0;
	return take_sample(ctx, account, pid_tgid, where, PERIOD, 0, 1);
}

int on_sample(struct bpf_perf_event_data *ctx)
{
	struct clock *this = clock();

	if (this) {
		this->sampler = this->timer;
		this->timer = 0;
	}
	return sample(ctx, WHERE(ctx->regs));
}

RAW_TRACEPOINT_PROBE(hrtimer_expire_entry)
{
	struct clock *this = clock();

	if (this)
		this->timer = ctx->args[0];
	return 0;
}

RAW_TRACEPOINT_PROBE(hrtimer_expire_exit)
{
	struct clock *this = clock();

	if (!this || !this->timer || this->timer != this->sampler || this->timer != ctx->args[0])
		return 0;
	this->timer = 0;
	return sample(ctx, IN_INTERRUPT);
}
