// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  followed
// group:  process
// table:  none
// value:  none, 1
// doc:    keeps the map of processes that were asked for with their children, for all probes of a recording
// attach: raw_tracepoint sched_process_fork, raw_tracepoint sched_process_exit
// needs:  Linux 5.8 with BTF
// kernel: AT_PID task_struct.pid, AT_TGID task_struct.tgid, AT_SIGNAL task_struct.signal, AT_LIVE signal_struct.live.counter

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

/* The last thread of a process takes it off the map: its number may come again. */
RAW_TRACEPOINT_PROBE(sched_process_exit)
{
	u64 signal = 0;
	u32 pid = read_u32(ctx->args[0], AT_TGID);

	bpf_probe_read_kernel(&signal, sizeof(signal), (void *)(ctx->args[0] + AT_SIGNAL));
	if (signal && !read_u32(signal, AT_LIVE))
		followed.delete(&pid);
	return 0;
}
