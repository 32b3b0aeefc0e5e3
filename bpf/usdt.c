// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  usdt
// doc:    one event per time that a program comes by a USDT probe; asked for with --usdt BIN:PROVIDER:NAME
// group:  user
// table:  events
// value:  first argument, 1, as the probe's note declares it; null when it has none
// key:    second argument; null when it has none
// event:  site asked
// attach: uprobe asked
// needs:  Linux 5.15
// cost:   about 10 us a hit, for the trap, on a busy VM with 2 CPUs
#include "tracelab.h"

/* The recorder makes these from the notes of the probes that are asked for. */
#ifndef ARGUMENT0
#define ARGUMENT0 (1ULL << 63)
#endif
#ifndef ARGUMENT1
#define ARGUMENT1 (1ULL << 63)
#endif

struct registers {
	u64 regs[21];
};

struct record {
	u64 time_ns;
	s64 value; /* the lowest number there is when unknown */
	s64 key;
	u32 pid;
	u32 tid;
	u32 weight;
	u16 site;
	u16 cpu;
};

static u64 (*attach_cookie)(void *ctx) = (void *)174; /* BPF_FUNC_get_attach_cookie */

int on_hit(struct registers *ctx)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	struct account *account = asked(pid_tgid);
	struct record *record;
	u32 site, weight;

	if (!account)
		return 0;
	site = attach_cookie(ctx);
	if (!EVENT_ASKED(site))
		return filtered(account);
	weight = weight_of(account, site);
	if (!weight)
		return 0;
	record = reserve(account, sizeof(*record));
	if (!record)
		return 0;
	record->time_ns = bpf_ktime_get_ns();
	record->value = ARGUMENT0;
	record->key = ARGUMENT1;
	record->pid = pid_tgid >> 32;
	record->tid = pid_tgid;
	record->weight = weight;
	record->site = site;
	record->cpu = bpf_get_smp_processor_id();
	keep(account, record);
	return 0;
}
