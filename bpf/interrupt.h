/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * For what the kernel does on a CPU whichever thread has it at the moment: interrupts, timers, work. That thread is
 * told, and filters ask about it, since its time is what was taken. It caused none of this, so the recorder's own
 * threads are no exception, and neither is the idle one, thread 0.
 *
 *	begin(slot, what); // at the start, in a slot that nothing else uses meanwhile
 *	finish(slot, bpf_ktime_get_ns(), what, key, ret, number); // at the end
 *
 * The record is the probe's own; it says with HAS_NUMBER, HAS_KEY and HAS_RET which of these its members are.
 */
#ifndef INTERRUPT_H
#define INTERRUPT_H

#define NONE (~0ULL) /* stored as null */

struct begun {
	u64 start_ns; /* 0: nothing is under way */
	u64 what;
};

INLINE void begin(struct begun *begun, u64 what)
{
	if (!begun)
		return;
	begun->what = what;
	begun->start_ns = bpf_ktime_get_ns();
}

/* As asked(), for an event that the thread which runs did not make. */
INLINE struct account *asked_of_interrupted(u64 pid_tgid)
{
	struct account *account = seen();

	if (account && !current_asked(pid_tgid >> 32, pid_tgid)) {
		COUNT(account->filtered);
		return 0;
	}
	return account;
}

/* One event at that time, of a duration in ns, or NONE. Whether it was kept. */
INLINE int take_event(u64 now, u64 duration, u64 key, u64 ret, u32 number)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	struct account *account = asked_of_interrupted(pid_tgid);
	struct record *record;
	u32 weight;

	if (!account)
		return 0;
	if (!EVENT_ASKED(number) || !DURATION_ASKED(duration == NONE ? 0 : duration))
		return filtered(account);
	weight = weight_of(account, key);
	if (!weight)
		return 0;
	record = reserve(account, sizeof(*record));
	if (!record)
		return 0;
	record->time_ns = now;
	record->value = duration;
#ifdef HAS_KEY
	record->key = key;
#endif
#ifdef HAS_RET
	record->ret = ret;
#endif
	record->pid = pid_tgid >> 32;
	record->tid = pid_tgid;
	record->weight = weight;
	record->cpu = bpf_get_smp_processor_id();
#ifdef HAS_NUMBER
	record->number = number;
#endif
	keep(account, record);
	return 1;
}

/* One event that ends now and began at start_ns, or, where that is 0, unseen. Whether it was kept. */
INLINE int took(u64 now, u64 start_ns, u64 key, u64 ret, u32 number)
{
	return take_event(now, start_ns ? now - start_ns : NONE, key, ret, number);
}

/* The same, of what began in that slot. */
INLINE int finish(struct begun *begun, u64 now, u64 what, u64 key, u64 ret, u32 number)
{
	u64 start_ns = begun && begun->what == what ? begun->start_ns : 0;

	if (begun)
		begun->start_ns = 0;
	return took(now, start_ns, key, ret, number);
}

#endif
