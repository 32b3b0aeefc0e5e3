// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  block
// doc:    one event per request that a disk has completed: its size, and how long the disk had it
// group:  files and block
// table:  events
// value:  latency, ns, from the last time it was given to the driver until it was complete; null when that was not seen
// ret:    0, or what failed as a negative errno
// size:   bytes that were read, written or discarded
// key:    device, as stat() gives it and os.major() and os.minor() take it; the whole disk where it was a partition
// event:  op read write flush discard secure_erase write_zeroes other
// attach: raw_tracepoint block_rq_insert, raw_tracepoint block_rq_issue, raw_tracepoint block_rq_complete
// cost:   780 ns a request, both programs (BPF run statistics, on a busy VM with 2 CPUs)
// needs:  Linux 5.8 with BTF
// kernel: AT_BYTES request.__data_len, AT_FLAGS request.cmd_flags, AT_QUEUE request.q, AT_RQ_DISK request.rq_disk?
// kernel: AT_DISK request_queue.disk?, AT_MAJOR gendisk.major, AT_MINOR gendisk.first_minor
/*
 * The thread is the one that put the request into the queue of the device, or gave it to the driver where there is no
 * queue: the reader or writer itself, and a kernel worker for what is written back later or passed on by a loop device.
 * A request that is merged into another one is part of that. Of a request that is completed piece by piece, the last
 * piece is the event. An fsync() on a disk with a cache is a flush by a kernel worker; the empty write that asked for it
 * never reaches the disk, and is no event.
 */
#define IN_INTERRUPTS
#include "tracelab.h"
#include "starter.h"

#ifndef UNDER_WAY
#define UNDER_WAY 16384 /* requests at one time; of those beyond, latency and thread stay unknown */
#endif

enum op { READ_OP, WRITE_OP, FLUSH_OP, DISCARD_OP, SECURE_ERASE_OP, WRITE_ZEROES_OP, OTHER_OP };

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

struct request {
	u64 start_ns; /* 0: is in a queue */
	u64 bytes;
	struct starter starter;
	u32 unused;
};
BPF_HASH(under_way, u64, struct request, UNDER_WAY);

/* enum req_op in include/linux/blk_types.h; the numbers of zone commands change from kernel to kernel */
INLINE u32 op_of(u64 rq)
{
	u32 op = READ(u32, rq, AT_FLAGS) & 0xff;

	return op <= 3 ? op : op == 5 ? SECURE_ERASE_OP : op == 9 ? WRITE_ZEROES_OP : OTHER_OP;
}

/* Before Linux 5.17 the disk was known to the request (f3fa33acca9f). */
INLINE u64 device_of(u64 rq)
{
#ifdef AT_RQ_DISK
	u64 disk = READ(u64, rq, AT_RQ_DISK);
#else
	u64 disk = READ(u64, READ(u64, rq, AT_QUEUE), AT_DISK);
#endif
	if (!disk)
		return ~0ULL;
	u32 major = READ(u32, disk, AT_MAJOR), minor = READ(u32, disk, AT_MINOR);

	return (minor & 0xff) | (u64)major << 8 | (u64)(minor & ~0xff) << 12; /* new_encode_dev() */
}

/* The error is a blk_status_t since Linux 5.16 (8a7d267b4a2c), and means what blk_errors[] in block/blk-core.c says. */
INLINE s64 errno_of(u64 error)
{
#if LINUX_VERSION_CODE < 0x51000
	return (s32)error;
#else
#define MEANS(status, number) \
	if ((u8)error == (status)) \
		return -(number);
	MEANS(0, 0)
	MEANS(1, 95)  /* EOPNOTSUPP */
	MEANS(2, 110) /* ETIMEDOUT */
	MEANS(3, 28)  /* ENOSPC */
	MEANS(4, 67)  /* ENOLINK */
	MEANS(5, 121) /* EREMOTEIO */
	MEANS(6, 52)  /* EBADE */
	MEANS(7, 61)  /* ENODATA */
	MEANS(8, 84)  /* EILSEQ */
	MEANS(9, 12)  /* ENOMEM */
	return -5;    /* EIO, and what is rarer */
#endif
}

/* Its first argument was the queue before Linux 5.11 (a54895fa057c). */
#if LINUX_VERSION_CODE < 0x50b00
#define REQUEST(ctx) ((ctx)->args[1])
#else
#define REQUEST(ctx) ((ctx)->args[0])
#endif

RAW_TRACEPOINT_PROBE(block_rq_insert)
{
	u64 rq = REQUEST(ctx);
	struct request request = {};

	current_starts(&request.starter);
	under_way.update(&rq, &request);
	return 0;
}

RAW_TRACEPOINT_PROBE(block_rq_issue)
{
	u64 rq = REQUEST(ctx);
	struct request *known = under_way.lookup(&rq);

	if (known) {
		known->bytes = READ(u32, rq, AT_BYTES);
		known->start_ns = bpf_ktime_get_ns();
		return 0;
	}
	struct request request = {.bytes = READ(u32, rq, AT_BYTES)};

	current_starts(&request.starter);
	request.start_ns = bpf_ktime_get_ns();
	under_way.update(&rq, &request);
	return 0;
}

RAW_TRACEPOINT_PROBE(block_rq_complete)
{
	u64 rq = ctx->args[0], now = bpf_ktime_get_ns(), latency = ~0ULL;
	u32 left = READ(u32, rq, AT_BYTES), op = op_of(rq), weight;
	struct request request = {.bytes = left}, *known;
	s64 ret = errno_of(ctx->args[1]);
	struct account *account;
	struct record *record;

	known = under_way.lookup(&rq);
	if ((u32)ctx->args[2] < left || (!known && !left))
		return 0;
	if (known) {
		request = *known;
		under_way.delete(&rq);
		latency = request.start_ns ? now - request.start_ns : ~0ULL;
	} else {
		unknown_starts(&request.starter);
	}
	account = asked_of(&request.starter);
	if (!account)
		return 0;
	if (!EVENT_ASKED(op) || !DURATION_ASKED(latency == ~0ULL ? 0 : latency) || !RESULT_ASKED(ret))
		return filtered(account);
	weight = weight_of(account, op);
	if (!weight)
		return 0;
	record = reserve(account, sizeof(*record));
	if (!record)
		return 0;
	record->time_ns = now;
	record->value = latency;
	record->ret = ret;
	record->size_bytes = request.bytes;
	record->key = device_of(rq);
	record->pid = request.starter.pid;
	record->tid = request.starter.tid;
	record->weight = weight;
	record->cpu = bpf_get_smp_processor_id();
	record->op = op;
	keep(account, record);
	return 0;
}
