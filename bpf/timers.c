// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  timers
// doc:    one event per timer that expired, when its function is done: the wheel's (timer) and high-resolution ones (hrtimer)
// group:  interrupts
// table:  events
// value:  duration, ns, of its function, interrupts in between included; null when it began before the recording
// key:    address of the function
// function: key
// event:  number timer hrtimer
// attach: raw_tracepoint timer_expire_entry, raw_tracepoint timer_expire_exit, raw_tracepoint hrtimer_expire_entry, raw_tracepoint hrtimer_expire_exit
// cost:   530 ns a timer, both programs, run on caches that are cold (BPF run statistics, on a busy VM with 2 CPUs)
// needs:  Linux 5.8 with BTF
// kernel: AT_TIMER_FUNCTION timer_list.function, AT_FUNCTION hrtimer.function, AT_IS_SOFT hrtimer.is_soft
/* The thread is the one that was interrupted; it need not be the one that set the timer. */
#define IN_INTERRUPTS
#define HAS_KEY
#define HAS_NUMBER
#include "tracelab.h"

struct record {
	u64 time_ns;
	u64 value;
	u64 key;
	u32 pid;
	u32 tid;
	u32 weight;
	u16 cpu;
	u16 number;
};

#include "interrupt.h"

enum kind { TIMER, HRTIMER };

/* An hrtimer of the hard interrupt can expire while one of the soft interrupt, or a timer, is under way. */
enum place { OF_TIMER, OF_SOFT, OF_HARD, PLACES };

struct expiry {
	u64 start_ns; /* 0: nothing is under way */
	u64 timer;
	u64 function; /* which may free its timer */
};
BPF_PERCPU_ARRAY(under_way, struct expiry, PLACES);

INLINE int expires(u64 timer, u64 function, u32 place)
{
	struct expiry *expiry = under_way.lookup(&place);

	if (!expiry)
		return 0;
	expiry->timer = timer;
	expiry->function = function;
	expiry->start_ns = bpf_ktime_get_ns();
	return 0;
}

/* Whether that was what is under way in this place. */
INLINE int is_done(u64 timer, u32 place, u32 kind)
{
	struct expiry *expiry = under_way.lookup(&place);
	u64 start_ns;

	if (!expiry || !expiry->start_ns || expiry->timer != timer)
		return 0;
	start_ns = expiry->start_ns;
	expiry->start_ns = 0;
	took(bpf_ktime_get_ns(), start_ns, expiry->function, NONE, kind);
	return 1;
}

RAW_TRACEPOINT_PROBE(timer_expire_entry)
{
	return expires(ctx->args[0], READ(u64, ctx->args[0], AT_TIMER_FUNCTION), OF_TIMER);
}

RAW_TRACEPOINT_PROBE(timer_expire_exit)
{
	if (!is_done(ctx->args[0], OF_TIMER, TIMER))
		took(bpf_ktime_get_ns(), 0, NONE, NONE, TIMER);
	return 0;
}

RAW_TRACEPOINT_PROBE(hrtimer_expire_entry)
{
	u64 timer = ctx->args[0];

	return expires(timer, READ(u64, timer, AT_FUNCTION), READ(u8, timer, AT_IS_SOFT) ? OF_SOFT : OF_HARD);
}

RAW_TRACEPOINT_PROBE(hrtimer_expire_exit)
{
	u64 timer = ctx->args[0];

	if (!is_done(timer, OF_HARD, HRTIMER) && !is_done(timer, OF_SOFT, HRTIMER))
		took(bpf_ktime_get_ns(), 0, NONE, NONE, HRTIMER);
	return 0;
}
