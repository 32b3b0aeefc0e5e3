// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  oncpu
// doc:    sampled stacks of what runs on each CPU: the kernel's stack, and user registers with a copy of the user stack
// group:  on-CPU
// table:  samples
// kind:   on-CPU
// value:  on-CPU time, ns, that one sample stands for
// rings:  ring record, deep_ring deep_record
// attach: perf_event cpu-clock
// needs:  Linux 5.15
// cost:   5 us a sample, the copy of the stack included (BPF run statistics, on a busy VM with 2 CPUs)
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

int on_sample(struct bpf_perf_event_data *ctx)
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
	return take_sample(ctx, account, pid_tgid, (ctx->regs[CS] & USER_MODE) == USER_MODE, PERIOD, 0, 1);
}
