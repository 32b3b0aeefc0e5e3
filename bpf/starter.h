/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Who started something that ends later, on behalf of no one: a request of a disk, a connection. Its thread is told
 * by what it did when it was the current one; where that was not seen, pid and tid are 0.
 */
#ifndef STARTER_H
#define STARTER_H

enum asking { NOT_ASKED, ASKED, OWN };

struct starter {
	u32 pid;
	u32 tid;
	u32 asking; /* what the filters say about the thread */
};

INLINE void current_starts(struct starter *starter)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();

	starter->pid = pid_tgid >> 32;
	starter->tid = pid_tgid;
	starter->asking = starter->pid == OWN_TGID ? OWN : current_asked(starter->pid, starter->tid) ? ASKED : NOT_ASKED;
}

/* Somebody whom no filter by name, user or control group can know. */
INLINE void unknown_starts(struct starter *starter)
{
	starter->pid = 0;
	starter->tid = 0;
#if defined(ANY_COMM) && defined(ANY_UID) && defined(ANY_CGROUP)
	starter->asking = process_asked(0, 0) ? ASKED : NOT_ASKED;
#else
	starter->asking = NOT_ASKED;
#endif
}

/* As asked(), of the event that this one started. */
INLINE struct account *asked_of(struct starter *starter)
{
	struct account *account = seen();

	if (!account)
		return 0;
	if (starter->asking == OWN) {
		COUNT(account->own);
		return 0;
	}
	if (starter->asking == NOT_ASKED) {
		COUNT(account->filtered);
		return 0;
	}
	return account;
}

#endif
