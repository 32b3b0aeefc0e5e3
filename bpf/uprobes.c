// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  uprobes
// doc:    one event per call of a function in a program or library, when it returns; asked for with --uprobe BIN:FUNC
// group:  user
// table:  events
// value:  duration, ns, of the call; null where the return is not probed, or came from deeper than 16 nested calls
// ret:    the register of the returned value, all 64 bits of it: a negative int is seen as its 32 bits
// event:  site asked
// attach: uprobe asked
// needs:  Linux 5.15
// cost:   about 20 us a call, for the traps at its entry and its return, on a busy VM with 2 CPUs
#include "tracelab.h"

#define DEPTH 16 /* nested calls of probed functions whose durations are told; a power of two */

struct registers {
	u64 regs[21];
};
#define AX 10

struct record {
	u64 time_ns;
	u64 value;
	s64 ret;
	u32 pid;
	u32 tid;
	u32 weight;
	u16 site;
	u16 cpu;
};

struct call {
	u64 start_ns;
	u64 site;
};

struct calls {
	u64 depth; /* goes on counting beyond DEPTH */
	struct call call[DEPTH];
};
BPF_TABLE("lru_hash", u32, struct calls, open_calls, 16384); /* threads come and go */

/* The mask is what verifiers go by, Linux 6.1's among them; the asm keeps clang from doing without it. */
INLINE struct call *call_at(struct calls *calls, u64 depth)
{
	asm volatile("" : "+r"(depth));
	return &calls->call[depth & (DEPTH - 1)];
}

static u64 (*attach_cookie)(void *ctx) = (void *)174; /* BPF_FUNC_get_attach_cookie: the site, and whether it returns */

INLINE int emit(struct account *account, u32 site, u64 now, u64 value, s64 ret, u64 pid_tgid)
{
	struct record *record;
	u32 weight;

	if (!EVENT_ASKED(site) || !RESULT_ASKED(ret) || !DURATION_ASKED(value == ~0ULL ? 0 : value))
		return filtered(account);
	weight = weight_of(account, site);
	if (!weight)
		return 0;
	record = reserve(account, sizeof(*record));
	if (!record)
		return 0;
	record->time_ns = now;
	record->value = value;
	record->ret = ret;
	record->pid = pid_tgid >> 32;
	record->tid = pid_tgid;
	record->weight = weight;
	record->site = site;
	record->cpu = bpf_get_smp_processor_id();
	keep(account, record);
	return 0;
}

/* The return is probed, too: remember when the call began. */
int on_entry(struct registers *ctx)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	u32 tid = pid_tgid;
	struct calls *calls;

	if ((u32)(pid_tgid >> 32) == OWN_TGID || !process_asked(pid_tgid >> 32, tid))
		return 0; /* counted at its return */
	calls = open_calls.lookup(&tid);
	if (!calls) {
		struct calls none = {};

		open_calls.update(&tid, &none);
		calls = open_calls.lookup(&tid);
		if (!calls)
			return 0;
	}
	u64 depth = calls->depth;

	calls->depth = depth + 1;
	if (depth < DEPTH) {
		struct call *call = call_at(calls, depth);

		call->start_ns = bpf_ktime_get_ns();
		call->site = attach_cookie(ctx);
	}
	return 0;
}

int on_return(struct registers *ctx)
{
	u64 pid_tgid = bpf_get_current_pid_tgid(), now, value = ~0ULL;
	u32 tid = pid_tgid;
	u32 site = attach_cookie(ctx);
	struct account *account = asked(pid_tgid);
	struct calls *calls;

	if (!account)
		return 0;
	now = bpf_ktime_get_ns();
	calls = open_calls.lookup(&tid);
	if (calls && calls->depth) {
		u64 depth = calls->depth - 1;

		/* calls that were left by longjmp or an exception never return: what is above belongs to them */
#pragma unroll
		for (int i = 0; i < 4; i++)
			if (depth && depth < DEPTH && call_at(calls, depth)->site != site)
				depth--;
		calls->depth = depth;
		if (depth < DEPTH && call_at(calls, depth)->site == site)
			value = now - call_at(calls, depth)->start_ns;
	}
	return emit(account, site, now, value, ctx->regs[AX], pid_tgid);
}

/* Where there is no return to probe. */
int on_hit(struct registers *ctx)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	struct account *account = asked(pid_tgid);

	if (!account)
		return 0;
	return emit(account, attach_cookie(ctx), bpf_ktime_get_ns(), ~0ULL, 0, pid_tgid);
}
