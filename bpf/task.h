/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * For events about a thread that is not the one that runs, by its task_struct: who it is, and whether it was asked for.
 */
// kernel: AT_PID task_struct.pid, AT_TGID task_struct.tgid, AT_COMM task_struct.comm, AT_CRED task_struct.cred
// kernel: AT_UID cred.uid.val, AT_CGROUPS task_struct.cgroups, AT_DFL_CGRP css_set.dfl_cgrp, AT_KN cgroup.kn
// kernel: AT_KN_ID kernfs_node.id, AT_LEVEL cgroup.level, AT_ANCESTORS cgroup.ancestors?
// kernel: AT_ANCESTOR_IDS cgroup.ancestor_ids?
#ifndef TASK_H
#define TASK_H

INLINE u32 tid_of(void *task)
{
	return READ(u32, task, AT_PID);
}

INLINE u32 pid_of(void *task)
{
	return READ(u32, task, AT_TGID);
}

/* Id of the control group at a level below the root, 0 when the thread's is higher up. */
INLINE u64 task_ancestor(void *task, int level)
{
	void *cgroup = READ(void *, READ(void *, task, AT_CGROUPS), AT_DFL_CGRP);

	if (level > READ(int, cgroup, AT_LEVEL))
		return 0;
#ifdef AT_ANCESTORS
	return READ(u64, READ(void *, READ(void *, cgroup, AT_ANCESTORS + 8 * level), AT_KN), AT_KN_ID);
#else
	return READ(u64, cgroup, AT_ANCESTOR_IDS + 8 * level);
#endif
}

INLINE int task_asked(void *task, u32 pid, u32 tid)
{
	if (!process_asked(pid, tid))
		return 0;
#ifndef ANY_COMM
	struct comm comm = {};
	bpf_probe_read_kernel(&comm, sizeof(comm), task + AT_COMM);
	if (!COMM_ASKED(comm.low, comm.high))
		return 0;
#endif
#ifndef ANY_UID
	u32 uid = READ(u32, READ(void *, task, AT_CRED), AT_UID);
	if (!UID_ASKED(uid))
		return 0;
#endif
#ifndef ANY_CGROUP
#define ANCESTOR_OF_TASK(level) task_ancestor(task, level)
	if (!CGROUP_ASKED(ANCESTOR_OF_TASK))
		return 0;
#endif
	return 1;
}

/* As asked(), for an event about another thread. The idle task is nobody's. */
INLINE struct account *asked_about(void *task, u32 pid, u32 tid)
{
	struct account *account = seen();

	if (!account)
		return 0;
	if (!tid) {
		COUNT(account->idle);
		return 0;
	}
	if (pid == OWN_TGID) {
		COUNT(account->own);
		return 0;
	}
	if (!task_asked(task, pid, tid)) {
		COUNT(account->filtered);
		return 0;
	}
	return account;
}

#endif
