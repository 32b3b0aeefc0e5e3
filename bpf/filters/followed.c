// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  followed
// group:  process
// table:  none
// value:  none, 1
// doc:    keeps the map of processes that were asked for with their children, for all probes of a recording
// attach: raw_tracepoint sched_process_fork, raw_tracepoint sched_process_free
// needs:  Linux 5.8 with BTF
// kernel: AT_PID task_struct.pid, AT_TGID task_struct.tgid

BPF_TABLE_PUBLIC("hash", u32, u8, followed, 65536);

static inline __attribute__((always_inline)) u32 read_u32(u64 from, u32 offset)
{
	u32 value = 0;

	bpf_probe_read_kernel(&value, sizeof(value), (void *)(from + offset));
	return value;
}

RAW_TRACEPOINT_PROBE(sched_process_fork)
{
	u32 parent = read_u32(ctx->args[0], AT_TGID);
	u32 child = read_u32(ctx->args[1], AT_TGID);
	u8 one = 1;

	if (parent != child && followed.lookup(&parent))
		followed.update(&child, &one);
	return 0;
}

/*
 * A process is taken off the map when its first thread, which outlives the others, is freed: after everything that it
 * did, its last switch away from a CPU included, and before its number can come again.
 */
RAW_TRACEPOINT_PROBE(sched_process_free)
{
	u32 tid = read_u32(ctx->args[0], AT_PID);

	if (tid == read_u32(ctx->args[0], AT_TGID))
		followed.delete(&tid);
	return 0;
}
