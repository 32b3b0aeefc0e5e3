/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What every probe shares: counters that account for each event that was seen, and the filters that are asked
 * before any work is done. The loader puts this text in place of #include "tracelab.h".
 *
 * Every event ends in exactly one counter: seen = KEPT + LOST + OWN + FILTERED + IDLE, per CPU.
 */
#ifndef TRACELAB_H
#define TRACELAB_H

#define KEPT 0     /* submitted to the ring */
#define LOST 1     /* the ring was full */
#define OWN 2      /* made by the recorder itself */
#define FILTERED 3 /* not asked for */
#define IDLE 4     /* the idle task */
#define COUNTERS 5

#ifndef OWN_TGID
#define OWN_TGID 0 /* process id of the recorder */
#endif
#ifndef PID_ASKED
#define PID_ASKED(pid) 1
#endif
#ifndef COMM_ASKED
#define COMM_ASKED 0 /* 1: ask the map `comms` whether this thread's name was asked for */
#endif
#ifndef RING_PAGES
#define RING_PAGES 16384
#endif

BPF_PERCPU_ARRAY(counts, u64, COUNTERS);
BPF_RINGBUF_OUTPUT(ring, RING_PAGES);

struct comm {
	char name[16];
};
BPF_HASH(comms, struct comm, u32, 64);

static inline void count(u32 what)
{
	u64 *n = counts.lookup(&what);

	if (n)
		*n += 1;
}

static inline int comm_asked(void)
{
	struct comm comm = {};

	bpf_get_current_comm(&comm, sizeof(comm));
	return comms.lookup(&comm) != 0;
}

/* Counts and reports an event that is not to be recorded; these are the first instructions of every probe. */
static inline int left_out(u64 pid_tgid)
{
	u32 pid = pid_tgid >> 32;

	if (pid == OWN_TGID) {
		count(OWN);
		return 1;
	}
	if (!PID_ASKED(pid) || (COMM_ASKED && !comm_asked())) {
		count(FILTERED);
		return 1;
	}
	return 0;
}

#endif
