// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  process
// doc:    processes and threads that begin, load another program, change their name and end
// group:  process
// table:  events
// value:  CPU time of the thread that ended, ns, in all its life; null for other events
// ret:    status of what ended, as wait(2) has it: exit code times 256, or signal; null for other events
// key:    tid of what was made, of fork and thread; null for other events
// event:  change fork thread exec rename exit thread_exit
// rings:  ring record, texts text
// attach: raw_tracepoint sched_process_fork, raw_tracepoint sched_process_exec, raw_tracepoint task_rename, raw_tracepoint sched_process_exit, raw_tracepoint sched_switch
// needs:  Linux 5.8 with BTF
// cost:   0.3 us for a thread that begins and ends, 1.0 us an exec, 20 ns a switch; on a VM with 2 CPUs
// kernel: AT_PID task_struct.pid, AT_TGID task_struct.tgid, AT_MM task_struct.mm, AT_SIGNAL task_struct.signal
// kernel: AT_LEADER task_struct.group_leader, AT_EXIT_CODE task_struct.exit_code, AT_LIVE signal_struct.live.counter
// kernel: AT_GROUP_CODE signal_struct.group_exit_code, AT_GROUP_FLAGS signal_struct.flags
// kernel: AT_RAN task_struct.se.sum_exec_runtime, AT_FILENAME linux_binprm.filename
// kernel: AT_ARG_START mm_struct.arg_start, AT_ARG_END mm_struct.arg_end
/*
 * Texts: of exec the program as it was asked for, as `exe`, and its arguments as `argv`; of rename the new name, as
 * `comm`. An exec is a rename first. fork and thread are events of the one who makes, all others of the one who
 * changes.
 *
 * exit is the end of the last thread of a process, thread_exit that of each one before: the CPU times of both add up
 * to that of the process. They are told when the thread leaves its CPU for good: before, the kernel knows its CPU time
 * only up to the last tick. That has a program run at each switch, which looks at the state and is done.
 */
#include "tracelab.h"
#include "starter.h"
#include "switch.h"

#ifndef SLOTS
#define SLOTS 32768 /* a power of two; as many as there can be threads, so that none shares a slot */
#endif
#ifndef TEXT_PAGES
#define TEXT_PAGES 1024
#endif
#ifndef EXE_BYTES
#define EXE_BYTES 256 /* longer texts are cut, and marked */
#endif
#ifndef ARGV_BYTES
#define ARGV_BYTES 1024
#endif
#define COMM_BYTES 16
#define NONE (~0ULL)		 /* stored as null */
#define SIGNAL_GROUP_EXIT 0x4 /* include/linux/sched/signal.h */

enum change { FORK, THREAD, EXEC, RENAME, EXIT, THREAD_EXIT };

struct record {
	u64 time_ns;
	u64 value;
	u64 ret;
	u64 key;
	u32 pid;
	u32 tid;
	u32 weight;
	u16 cpu;
	u16 change;
	char comm[COMM_BYTES];
};

struct text {
	u64 time_ns;
	u32 tid;
	u16 change;
	u16 cpu;
	u32 argv_bytes; /* of all arguments, also of what was cut */
	char exe[EXE_BYTES];
	char argv[ARGV_BYTES];
};
BPF_RINGBUF_OUTPUT(texts, TEXT_PAGES);

/* A thread between the moment at which it began to end and that at which it leaves its CPU for good. */
struct ending {
	struct starter starter; /* asking is 0 when it does not end */
	u32 change;
	u32 status;
	u32 ends;
};
BPF_ARRAY(endings, struct ending, SLOTS);

INLINE int take(struct account *account, u64 now, u32 pid, u32 tid, u32 change, u64 value, u64 ret, u64 key, u64 comm)
{
	struct record *record;
	u32 weight = weight_of(account, change);

	if (!weight)
		return 0;
	record = reserve(account, sizeof(*record));
	if (!record)
		return 0;
	record->time_ns = now;
	record->value = value;
	record->ret = ret;
	record->key = key;
	record->pid = pid;
	record->tid = tid;
	record->weight = weight;
	record->cpu = bpf_get_smp_processor_id();
	record->change = change;
	if (!comm || bpf_probe_read_kernel_str(record->comm, COMM_BYTES, (void *)comm) <= 0)
		record->comm[0] = 0; /* an empty text is no text */
	keep(account, record);
	return 1;
}

RAW_TRACEPOINT_PROBE(sched_process_fork)
{
	u64 pid_tgid = bpf_get_current_pid_tgid(), child = ctx->args[1];
	u32 change = READ(u32, child, AT_TGID) == pid_tgid >> 32 ? THREAD : FORK;
	struct account *account = asked(pid_tgid);

	if (!account)
		return 0;
	if (!EVENT_ASKED(change) || !RESULT_ASKED(0))
		return filtered(account);
	take(account, bpf_ktime_get_ns(), pid_tgid >> 32, pid_tgid, change, NONE, NONE, READ(u32, child, AT_PID), 0);
	return 0;
}

RAW_TRACEPOINT_PROBE(task_rename)
{
	u64 pid_tgid = bpf_get_current_pid_tgid(), task = ctx->args[0];
	struct account *account;
	u32 tid;

	/* A thread may also name another one of its process, by /proc. */
	tid = READ(u32, task, AT_PID);
	account = asked((pid_tgid >> 32) << 32 | tid);
	if (!account)
		return 0;
	if (!EVENT_ASKED(RENAME) || !RESULT_ASKED(0))
		return filtered(account);
	take(account, bpf_ktime_get_ns(), pid_tgid >> 32, tid, RENAME, NONE, NONE, NONE, ctx->args[1]);
	return 0;
}

/* The new memory's first page of arguments has just been written, so that it is there. */
INLINE void keep_arguments(struct text *text, u64 mm)
{
	u64 start = READ(u64, mm, AT_ARG_START);
	u64 bytes = READ(u64, mm, AT_ARG_END) - start, read = bytes;

	if (read > ARGV_BYTES)
		read = ARGV_BYTES;
	asm volatile("" : "+r"(read)); /* so that the verifier is told its range in one comparison */
	text->argv_bytes = 0;
	if (read <= ARGV_BYTES && !bpf_probe_read_user(text->argv, read, (void *)start))
		text->argv_bytes = bytes;
}

RAW_TRACEPOINT_PROBE(sched_process_exec)
{
	u64 pid_tgid = bpf_get_current_pid_tgid(), now = bpf_ktime_get_ns(), task = ctx->args[0];
	u64 filename = READ(u64, ctx->args[2], AT_FILENAME);
	struct account *account = asked(pid_tgid);
	struct text *text;

	if (!account)
		return 0;
	if (!EVENT_ASKED(EXEC) || !RESULT_ASKED(0))
		return filtered(account);
	if (!take(account, now, pid_tgid >> 32, pid_tgid, EXEC, NONE, NONE, NONE, 0))
		return 0;
	text = texts.ringbuf_reserve(sizeof(*text));
	if (!text) {
		COUNT(account->texts_lost);
		return 0;
	}
	text->time_ns = now;
	text->tid = pid_tgid;
	text->change = EXEC;
	text->cpu = bpf_get_smp_processor_id();
	if (bpf_probe_read_kernel_str(text->exe, EXE_BYTES, (void *)filename) <= 0)
		text->exe[0] = 0;
	keep_arguments(text, READ(u64, task, AT_MM));
	texts.ringbuf_submit(text, BPF_RB_NO_WAKEUP);
	return 0;
}

/* As wait_task_zombie() has it: the code of the process where it was told to exit, else that of its first thread. */
INLINE u32 status_of(u64 task, u64 signal)
{
	if (READ(u32, signal, AT_GROUP_FLAGS) & SIGNAL_GROUP_EXIT)
		return READ(u32, signal, AT_GROUP_CODE);
	return READ(u32, READ(u64, task, AT_LEADER), AT_EXIT_CODE);
}

#if LINUX_VERSION_CODE < 0x61000
/* Processes that have had their exit: threads that end together all see that none is left. */
BPF_TABLE("lru_hash", u64, u8, over, 16384);
#endif

/* Whether this thread is the last one of its process, which the tracepoint tells since Linux 6.16. */
INLINE int is_last(void *context, u64 signal)
{
	struct bpf_raw_tracepoint_args *ctx = context;
#if LINUX_VERSION_CODE >= 0x61000
	return ctx->args[1] & 1;
#else
	u8 one = 1;
	u64 process = signal ^ bpf_get_current_pid_tgid() >> 32;

	return !READ(u32, signal, AT_LIVE) && !over.insert(&process, &one);
#endif
}

RAW_TRACEPOINT_PROBE(sched_process_exit)
{
	u64 task = ctx->args[0], signal = READ(u64, task, AT_SIGNAL);
	u32 index = (u32)bpf_get_current_pid_tgid() & (SLOTS - 1), change;
	struct ending *ending = endings.lookup(&index);

	if (!ending)
		return 0;
	change = is_last(ctx, signal) ? EXIT : THREAD_EXIT;
	ending->change = change;
	ending->status = change == EXIT ? status_of(task, signal) : READ(u32, task, AT_EXIT_CODE);
	current_starts(&ending->starter);
	ending->ends = 1;
	return 0;
}

RAW_TRACEPOINT_PROBE(sched_switch)
{
	u32 tid, index;
	struct ending *ending;
	struct account *account;

	if (!(STATE_LEFT_IN(ctx) & DEAD))
		return 0;
	tid = bpf_get_current_pid_tgid();
	index = tid & (SLOTS - 1);
	ending = endings.lookup(&index);
	if (!ending || !ending->ends || ending->starter.tid != tid)
		return 0;
	ending->ends = 0;
	account = asked_of(&ending->starter);
	if (!account)
		return 0;
	/* --errors asks for what failed */
	if (!EVENT_ASKED(ending->change) || !RESULT_ASKED(ending->status ? -1 : 0))
		return filtered(account);
	take(account, bpf_ktime_get_ns(), ending->starter.pid, tid, ending->change, READ(u64, ctx->args[1], AT_RAN),
	     ending->status, NONE, 0);
	return 0;
}
