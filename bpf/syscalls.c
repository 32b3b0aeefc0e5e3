// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  syscalls
// doc:    one event per finished system call, at the time it finished
// group:  syscalls
// table:  events
// value:  duration, ns, from entry to exit; null when it began before the recording
// ret:    return value, negative errno on failure
// event:  nr syscall
// rings:  ring record, texts text
// attach: raw_tracepoint sys_enter, raw_tracepoint sys_exit
// needs:  Linux 5.8
// cost:   120 ns a call, both programs and the slow path of system calls included, on a VM with 2 CPUs (make bench)
#include "tracelab.h"
#include "calls.h"

#ifndef SLOTS
#define SLOTS 32768 /* a power of two; as many as there can be threads, so that none shares a slot */
#endif
#ifndef PATHS
#define PATHS 0 /* 1: keep the path of calls that take one */
#endif
#ifndef TEXT_PAGES
#define TEXT_PAGES 1024
#endif
#ifndef PATH_BYTES
#define PATH_BYTES 256 /* longer paths are cut, and marked */
#endif
#ifdef __x86_64__
#define RETURNS(nr) ((nr) != 60 && (nr) != 231) /* but exit and exit_group */
#else
#define RETURNS(nr) ((nr) != 93 && (nr) != 94)
#endif

struct record {
	u64 time_ns;
	u64 value; /* all ones when the entry was not seen */
	s64 ret;
	u32 pid;
	u32 tid;
	u32 weight;
	u16 nr;
	u16 cpu;
};

struct slot {
	u64 start_ns;
	u32 tid;
	u32 nr;
};
BPF_ARRAY(slots, struct slot, SLOTS);

#if PATHS
struct text {
	u64 time_ns;
	u32 tid;
	u16 nr;
	u16 cpu;
	char path[PATH_BYTES];
};
BPF_RINGBUF_OUTPUT(texts, TEXT_PAGES);
BPF_ARRAY(path_arguments, u8, 512); /* by number of the call: 1 + which argument is a path, or 0 */

/* At the exit: the kernel itself has read the path by then, so that its page is in memory. */
INLINE void keep_path(struct account *account, u64 time_ns, u32 tid, u32 nr, u64 regs)
{
	u8 *argument = path_arguments.lookup(&nr);
	struct text *text;
	u64 at;

	if (!argument || !*argument)
		return;
	at = *argument == 1 ? ARGUMENT1(regs) : *argument == 2 ? ARGUMENT2(regs) : ARGUMENT3(regs);
	if (!at)
		return;
	text = texts.ringbuf_reserve(sizeof(*text));
	if (!text) {
		COUNT(account->texts_lost);
		return;
	}
	text->time_ns = time_ns;
	text->tid = tid;
	text->nr = nr;
	if (bpf_probe_read_user_str(text->path, PATH_BYTES, (void *)at) <= 0)
		text->path[0] = 0; /* no memory of the process; an empty text is no text */
	texts.ringbuf_submit(text, BPF_RB_NO_WAKEUP);
}
#endif

RAW_TRACEPOINT_PROBE(sys_enter)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	u32 tid = pid_tgid;
	u32 pid = pid_tgid >> 32;
	u32 nr = ctx->args[1];
	u32 index = tid & (SLOTS - 1);
	struct slot *slot;

	if (pid == OWN_TGID || !process_asked(pid, tid) || !EVENT_ASKED(nr))
		return 0; /* counted at its exit */
	slot = slots.lookup(&index);
	if (!slot)
		return 0;
	slot->tid = tid;
	slot->nr = nr;
	slot->start_ns = RETURNS(nr) ? bpf_ktime_get_ns() : 0; /* else the next thread of that number would find it */
	return 0;
}

RAW_TRACEPOINT_PROBE(sys_exit)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	u32 tid = pid_tgid;
	u32 index = tid & (SLOTS - 1);
	u64 start_ns = 0, now;
	s64 ret = ctx->args[1];
	u32 nr = 0, weight;
	struct account *account = asked(pid_tgid);
	struct slot *slot;
	struct record *record;

	if (!account)
		return 0;
	slot = slots.lookup(&index);
	if (slot && slot->tid == tid && slot->start_ns) {
		start_ns = slot->start_ns;
		nr = slot->nr;
		slot->start_ns = 0;
	} else {
		nr = NR_OF(ctx->args[0]);
	}
	now = bpf_ktime_get_ns();
	if (!EVENT_ASKED(nr) || !RESULT_ASKED(ret) || !DURATION_ASKED(start_ns ? now - start_ns : 0))
		return filtered(account);
	weight = weight_of(account, nr);
	if (!weight)
		return 0;
	record = reserve(account, sizeof(*record));
	if (!record)
		return 0;
	record->time_ns = now;
	record->value = start_ns ? now - start_ns : ~0ULL;
	record->ret = ret;
	record->pid = pid_tgid >> 32;
	record->tid = tid;
	record->weight = weight;
	record->nr = nr < 0xFFFF ? nr : 0xFFFF;
	record->cpu = bpf_get_smp_processor_id();
	keep(account, record);
#if PATHS
	keep_path(account, now, tid, nr, ctx->args[0]);
#endif
	return 0;
}
