// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  timer_delays
// doc:    one event per high-resolution timer that expires: how late it is
// group:  interrupts
// table:  events
// value:  delay, ns, from the time that it was set for until an interrupt found it due
// key:    address of the function
// function: key
// attach: raw_tracepoint hrtimer_expire_entry
// cost:   620 ns a timer, run on caches that are cold (BPF run statistics, on a busy VM with 2 CPUs)
// needs:  Linux 5.8 with BTF
// kernel: AT_FUNCTION hrtimer.function, AT_SOFT_EXPIRES hrtimer._softexpires
/*
 * The delay includes the slack that the owner allows so that timers can expire together: 50 us for sleeps of ordinary
 * threads, see PR_SET_TIMERSLACK. The thread is the one that was interrupted.
 */
#define IN_INTERRUPTS
#define HAS_KEY
#include "tracelab.h"

struct record {
	u64 time_ns;
	u64 value;
	u64 key;
	u32 pid;
	u32 tid;
	u32 weight;
	u16 cpu;
};

#include "interrupt.h"

RAW_TRACEPOINT_PROBE(hrtimer_expire_entry)
{
	u64 timer = ctx->args[0], now = READ(u64, ctx->args[1], 0), due = READ(u64, timer, AT_SOFT_EXPIRES);

	take_event(bpf_ktime_get_ns(), now > due ? now - due : 0, READ(u64, timer, AT_FUNCTION), NONE, 0);
	return 0;
}
