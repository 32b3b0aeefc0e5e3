// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  files
// doc:    one event per open, close, read, write and sync of a file that has come back, of whatever kind the file is
// group:  files and block
// table:  events
// value:  duration, ns, of the call; null when it began before the recording
// ret:    what the call returned: the file's number, bytes, or 0; negative errno on failure
// size:   bytes that were read or written; null for other events and on failure
// key:    number of the file in its process; null for an open that failed
// event:  op open close read write fsync
// rings:  ring record, texts text
// attach: raw_tracepoint sys_enter, raw_tracepoint sys_exit
// needs:  Linux 5.8
// cost:   130 ns a call of these, and 50 ns of every other system call; on a VM with 2 CPUs
/*
 * Texts: the `path` of open as it was asked for, read when the call is back: the kernel has read it by then, so that
 * its page is in memory. All calls of a kind are one event: open, openat, openat2 and creat; fsync, fdatasync, syncfs
 * and sync_file_range; read and write with p, v and 2. What is mapped, sent by sendfile() or done by io_uring is not
 * seen, nor are the calls of 32-bit programs, which have other numbers.
 */
#include "tracelab.h"
#include "calls.h"

#ifndef SLOTS
#define SLOTS 32768 /* a power of two; as many as there can be threads, so that none shares a slot */
#endif
#ifndef TEXT_PAGES
#define TEXT_PAGES 1024
#endif
#ifndef PATH_BYTES
#define PATH_BYTES 256 /* longer paths are cut, and marked */
#endif
#define NONE (~0ULL) /* stored as null */

enum op { OPEN, CLOSE, READ_OP, WRITE_OP, SYNC, OTHER };

struct record {
	u64 time_ns;
	u64 value;
	s64 ret;
	u64 size_bytes;
	u64 key;
	u32 pid;
	u32 tid;
	u32 weight;
	u16 cpu;
	u16 op;
};

struct text {
	u64 time_ns;
	u32 tid;
	u16 op;
	u16 cpu;
	char path[PATH_BYTES];
};
BPF_RINGBUF_OUTPUT(texts, TEXT_PAGES);

struct slot {
	u64 start_ns;
	u32 tid;
	u32 nr;
};
BPF_ARRAY(slots, struct slot, SLOTS);

#ifdef __x86_64__
#define OPEN_NR 2
#define CREAT_NR 85
#define OPENAT_NR 257
INLINE u32 op_of(u32 nr)
{
	switch (nr) {
	case 0: case 17: case 19: case 295: case 327: /* read, pread64, readv, preadv, preadv2 */
		return READ_OP;
	case 1: case 18: case 20: case 296: case 328:
		return WRITE_OP;
	case OPEN_NR: case CREAT_NR: case OPENAT_NR: case 437: /* openat2 */
		return OPEN;
	case 3:
		return CLOSE;
	case 74: case 75: case 277: case 306: /* fsync, fdatasync, sync_file_range, syncfs */
		return SYNC;
	}
	return OTHER;
}
#define PATH_OF(nr, regs) ((nr) == OPEN_NR || (nr) == CREAT_NR ? ARGUMENT1(regs) : ARGUMENT2(regs))
#else
INLINE u32 op_of(u32 nr)
{
	switch (nr) {
	case 63: case 65: case 67: case 69: case 286:
		return READ_OP;
	case 64: case 66: case 68: case 70: case 287:
		return WRITE_OP;
	case 56: case 437:
		return OPEN;
	case 57:
		return CLOSE;
	case 82: case 83: case 84: case 267:
		return SYNC;
	}
	return OTHER;
}
#define PATH_OF(nr, regs) ARGUMENT2(regs)
#endif

INLINE void keep_path(struct account *account, u64 time_ns, u32 tid, u64 path)
{
	struct text *text = texts.ringbuf_reserve(sizeof(*text));

	if (!text) {
		COUNT(account->texts_lost);
		return;
	}
	text->time_ns = time_ns;
	text->tid = tid;
	text->op = OPEN;
	text->cpu = bpf_get_smp_processor_id();
	if (bpf_probe_read_user_str(text->path, PATH_BYTES, (void *)path) <= 0)
		text->path[0] = 0; /* no memory of the process; an empty text is no text */
	texts.ringbuf_submit(text, BPF_RB_NO_WAKEUP);
}

RAW_TRACEPOINT_PROBE(sys_enter)
{
	u64 pid_tgid;
	u32 nr = ctx->args[1], op = op_of(nr), index;
	struct slot *slot;

	if (op == OTHER || !EVENT_ASKED(op))
		return 0; /* an event is counted at its exit */
	pid_tgid = bpf_get_current_pid_tgid();
	if (pid_tgid >> 32 == OWN_TGID || !process_asked(pid_tgid >> 32, pid_tgid))
		return 0;
	index = (u32)pid_tgid & (SLOTS - 1);
	slot = slots.lookup(&index);
	if (!slot)
		return 0;
	slot->tid = pid_tgid;
	slot->nr = nr;
	slot->start_ns = bpf_ktime_get_ns();
	return 0;
}

RAW_TRACEPOINT_PROBE(sys_exit)
{
	u64 pid_tgid, now, duration = NONE, regs = ctx->args[0];
	s64 ret = ctx->args[1];
	u32 nr = NR_OF(regs), op = op_of(nr), index, weight;
	struct account *account;
	struct record *record;
	struct slot *slot;

	if (op == OTHER)
		return 0;
	pid_tgid = bpf_get_current_pid_tgid();
	account = asked(pid_tgid);
	if (!account)
		return 0;
	now = bpf_ktime_get_ns();
	index = (u32)pid_tgid & (SLOTS - 1);
	slot = slots.lookup(&index);
	if (slot && slot->start_ns && slot->tid == (u32)pid_tgid && slot->nr == nr) {
		duration = now - slot->start_ns;
		slot->start_ns = 0;
	}
	if (!EVENT_ASKED(op) || !RESULT_ASKED(ret) || !DURATION_ASKED(duration == NONE ? 0 : duration))
		return filtered(account);
	weight = weight_of(account, op);
	if (!weight)
		return 0;
	record = reserve(account, sizeof(*record));
	if (!record)
		return 0;
	record->time_ns = now;
	record->value = duration;
	record->ret = ret;
	record->size_bytes = ret >= 0 && (op == READ_OP || op == WRITE_OP) ? ret : NONE;
	record->key = op != OPEN ? (u32)ARGUMENT1(regs) : ret >= 0 ? ret : NONE;
	record->pid = pid_tgid >> 32;
	record->tid = pid_tgid;
	record->weight = weight;
	record->cpu = bpf_get_smp_processor_id();
	record->op = op;
	keep(account, record);
	if (op == OPEN)
		keep_path(account, now, pid_tgid, PATH_OF(nr, regs));
	return 0;
}
