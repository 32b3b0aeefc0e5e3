// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  cycles
// doc:    sampled stacks, as oncpu, but by cycles of the CPU that its hardware counts: code that runs at a low clock weighs less
// group:  on-CPU
// table:  samples
// kind:   cycles
// value:  cycles, cycles, that one sample stands for
// rings:  ring record, deep_ring deep_record
// attach: perf_event cycles
// needs:  Linux 5.15, on a machine with hardware counters
// cost:   that of oncpu
#include "tracelab.h"
#include "stack.h"


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
	return take_sample(ctx, account, pid_tgid, WHERE(ctx->regs), ctx->sample_period, 0, 1);
}
