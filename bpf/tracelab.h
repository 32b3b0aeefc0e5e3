/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What every probe shares: the account of each event that was seen, the filters that are asked before any work is
 * done, sampling with weights, and the ring. The loader puts this text in place of #include "tracelab.h".
 *
 * A probe begins with asked(), which gives the account, or 0 when there is nothing to do. What comes after ends each
 * event in exactly one member of the account, per CPU: seen = kept + lost + sampled_out + filtered + own + idle.
 *
 *	struct account *account = asked(bpf_get_current_pid_tgid());
 *	if (!account)
 *		return 0;
 *	u32 weight = weight_of(account, key);         // 0: sampled out
 *	if (!weight)
 *		return 0;
 *	struct record *record = reserve(account, sizeof(*record));   // 0: lost
 *	if (!record)
 *		return 0;
 *	...
 *	keep(account, record);
 */
#ifndef TRACELAB_H
#define TRACELAB_H

#define INLINE static inline __attribute__((always_inline))

/* Parameters, set by the recorder. */
#ifndef OWN_TGID
#define OWN_TGID 0 /* process id of the recorder */
#endif
#ifndef PID_ASKED
#define PID_ASKED(pid) 1
#endif
#ifndef TID_ASKED
#define TID_ASKED(tid) 1
#endif
#ifndef FOLLOWED
#define FOLLOWED 0 /* 1: only processes in the map `followed`, which children.c keeps */
#endif
#ifndef COMM_ASKED /* of the thread's name as two words, the first byte the lowest */
#define COMM_ASKED(low, high) 1
#define ANY_COMM
#endif
#ifndef UID_ASKED
#define UID_ASKED(uid) 1
#define ANY_UID
#endif
#ifndef CGROUP_ASKED /* ANCESTOR(level) is the id of the control group that many levels below the root */
#define CGROUP_ASKED(ANCESTOR) 1
#define ANY_CGROUP
#endif
#ifndef EVENT_ASKED
#define EVENT_ASKED(number) 1
#endif
#ifndef DURATION_ASKED
#define DURATION_ASKED(ns) 1
#endif
#ifndef RESULT_ASKED
#define RESULT_ASKED(ret) 1
#endif
#ifndef RING_PAGES
#define RING_PAGES 4096 /* of each ring */
#endif
#ifndef SHARDS
#define SHARDS 1 /* rings, of which each serves the CPUs cpu % SHARDS; a power of two up to 8 */
#endif
#ifndef SAMPLED
#define SAMPLED 0 /* 1: one of every N events, chosen by chance among them; 2: each with the chance 1 / N */
#endif
#ifndef RATE_LIMIT
#define RATE_LIMIT 0 /* of each key on each CPU, events that are kept in 2^27 ns; 0: no limit */
#endif
#ifndef SEED
#define SEED 1
#endif

struct account {
	u64 seen;
	u64 kept;	 /* submitted to the ring */
	u64 lost;	 /* the ring was full */
	u64 sampled_out; /* others stand for them, by their weight */
	u64 filtered;	 /* not asked for */
	u64 own;	 /* made by the recorder itself */
	u64 idle;	 /* samples of the idle task */
	u64 texts_lost;	 /* of kept events, texts that found their ring full */
};
BPF_PERCPU_ARRAY(accounts, struct account, 1);

/* Programs that an interrupt can interrupt in the middle, by another of the same probe, define IN_INTERRUPTS. */
#ifdef IN_INTERRUPTS
#define COUNT(member) __sync_fetch_and_add(&(member), 1)
#else
#define COUNT(member) ((member) += 1)
#endif

BPF_RINGBUF_OUTPUT(ring, RING_PAGES);
#if SHARDS > 1
BPF_RINGBUF_OUTPUT(ring1, RING_PAGES);
#endif
#if SHARDS > 2
BPF_RINGBUF_OUTPUT(ring2, RING_PAGES);
BPF_RINGBUF_OUTPUT(ring3, RING_PAGES);
#endif
#if SHARDS > 4
BPF_RINGBUF_OUTPUT(ring4, RING_PAGES);
BPF_RINGBUF_OUTPUT(ring5, RING_PAGES);
BPF_RINGBUF_OUTPUT(ring6, RING_PAGES);
BPF_RINGBUF_OUTPUT(ring7, RING_PAGES);
#endif

/* Reads one value from kernel memory; 0 when it cannot be read. */
#define READ(type, from, offset)                                                                   \
	({                                                                                         \
		type value_ = 0;                                                                   \
		bpf_probe_read_kernel(&value_, sizeof(value_), (void *)((u64)(from) + (offset)));  \
		value_;                                                                            \
	})

#if FOLLOWED
BPF_TABLE("extern", u32, u8, followed, 65536);
#endif

static u64 (*ancestor_cgroup_id)(int level) = (void *)123; /* BPF_FUNC_get_current_ancestor_cgroup_id */

/* Whether the process, whose number this is, was asked for. */
INLINE int process_asked(u32 pid, u32 tid)
{
	if (!PID_ASKED(pid) || !TID_ASKED(tid))
		return 0;
#if FOLLOWED
	if (!followed.lookup(&pid))
		return 0;
#endif
	return 1;
}

struct comm {
	u64 low;
	u64 high;
};

/* Whether the thread that runs was asked for. */
INLINE int current_asked(u32 pid, u32 tid)
{
	if (!process_asked(pid, tid))
		return 0;
#ifndef ANY_COMM
	struct comm comm = {};
	bpf_get_current_comm(&comm, sizeof(comm));
	if (!COMM_ASKED(comm.low, comm.high))
		return 0;
#endif
#ifndef ANY_UID
	u32 uid = bpf_get_current_uid_gid();
	if (!UID_ASKED(uid))
		return 0;
#endif
#ifndef ANY_CGROUP
	if (!CGROUP_ASKED(ancestor_cgroup_id))
		return 0;
#endif
	return 1;
}

/* Counts an event; where the thread that it is about is not the one that runs, see task.h. */
INLINE struct account *seen(void)
{
	int zero = 0;
	struct account *account = accounts.lookup(&zero);

	if (account)
		COUNT(account->seen);
	return account;
}

/* The first instructions of every probe. */
INLINE struct account *asked(u64 pid_tgid)
{
	struct account *account = seen();
	u32 pid = pid_tgid >> 32;

	if (!account)
		return 0;
	if (pid == OWN_TGID) {
		COUNT(account->own);
		return 0;
	}
	if (!current_asked(pid, pid_tgid)) {
		COUNT(account->filtered);
		return 0;
	}
	return account;
}

INLINE int filtered(struct account *account)
{
	COUNT(account->filtered);
	return 0;
}

#if SAMPLED || RATE_LIMIT
struct sampler {
	u64 random;
	u32 left;   /* events to come of these n */
	u32 chosen; /* which of them is kept, counted in the same way */
	u32 n;
};
BPF_PERCPU_ARRAY(samplers, struct sampler, 1);
BPF_ARRAY(one_in, u32, 1); /* N; the recorder may change it at any time */

/* xorshift64 */
INLINE u32 random_of(struct sampler *sampler)
{
	u64 x = sampler->random;

	if (!x)
		x = (SEED + 1ULL) * 0x9E3779B97F4A7C15ULL ^ (bpf_get_smp_processor_id() + 1ULL) * 0xD1B54A32D192ED03ULL;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	sampler->random = x;
	return x >> 32;
}

INLINE u32 n_asked(void)
{
	int zero = 0;
	u32 *n = one_in.lookup(&zero);

	return n && *n ? *n : 1;
}
#endif

#if SAMPLED == 1
/* One of each n events in a row, by chance, so that no rhythm of the events can hide from it. */
INLINE u32 sample_weight(struct sampler *sampler)
{
	if (!sampler->left) {
		sampler->n = n_asked();
		sampler->left = sampler->n;
		sampler->chosen = 1 + random_of(sampler) % sampler->n;
	}
	u32 place = sampler->left;

	sampler->left = place - 1;
	return place == sampler->chosen ? sampler->n : 0;
}
#elif SAMPLED == 2
INLINE u32 sample_weight(struct sampler *sampler)
{
	u32 n = n_asked();

	return random_of(sampler) <= 0xFFFFFFFF / n ? n : 0;
}
#endif

#if RATE_LIMIT
struct limit {
	u64 window;
	u32 came; /* in this window */
	u32 kept; /* since n was set */
	u32 n;
};
BPF_TABLE("lru_percpu_hash", u64, struct limit, limits, 16384);

/*
 * One of n events of a key, where n follows from the events before: those of the window before, and what was kept in
 * this one. Since n never depends on the event itself, the weights stay unbiased.
 */
INLINE u32 limit_weight(struct sampler *sampler, u64 key)
{
	u64 window = bpf_ktime_get_ns() >> 27;
	struct limit *limit = limits.lookup(&key);

	if (!limit) {
		struct limit first = {.window = window, .came = 1, .kept = 1, .n = 1};

		limits.update(&key, &first);
		return 1;
	}
	if (limit->window != window) {
		limit->n = limit->window + 1 == window ? limit->came / RATE_LIMIT + 1 : 1;
		limit->window = window;
		limit->came = 0;
		limit->kept = 0;
	}
	limit->came += 1;
	u32 n = limit->n;

	if (n > 1 && random_of(sampler) > 0xFFFFFFFF / n)
		return 0;
	limit->kept += 1;
	if (limit->kept >= RATE_LIMIT && n < 1 << 20) {
		limit->n = 2 * n;
		limit->kept = 0;
	}
	return n;
}
#endif

/* How many events this one stands for; 0 when another one stands for it. `key` is what limits of the rate go by. */
INLINE u32 weight_of(struct account *account, u64 key)
{
	u32 weight = 1;
#if SAMPLED || RATE_LIMIT
	int zero = 0;
	struct sampler *sampler = samplers.lookup(&zero);

	if (!sampler)
		return 1;
#endif
#if SAMPLED
	weight = sample_weight(sampler);
#endif
#if RATE_LIMIT
	if (weight)
		weight *= limit_weight(sampler, key);
#endif
	if (!weight)
		COUNT(account->sampled_out);
	return weight;
}

/* Room in the ring of this CPU; 0 when it is full, which is counted. */
INLINE void *reserve(struct account *account, const u64 size)
{
	void *record;
#if SHARDS > 1
	u32 shard = bpf_get_smp_processor_id() & (SHARDS - 1);

	if (shard == 1)
		record = ring1.ringbuf_reserve(size);
#if SHARDS > 2
	else if (shard == 2)
		record = ring2.ringbuf_reserve(size);
	else if (shard == 3)
		record = ring3.ringbuf_reserve(size);
#endif
#if SHARDS > 4
	else if (shard == 4)
		record = ring4.ringbuf_reserve(size);
	else if (shard == 5)
		record = ring5.ringbuf_reserve(size);
	else if (shard == 6)
		record = ring6.ringbuf_reserve(size);
	else if (shard == 7)
		record = ring7.ringbuf_reserve(size);
#endif
	else
#endif
		record = ring.ringbuf_reserve(size);
	if (!record)
		COUNT(account->lost);
	return record;
}

INLINE void keep(struct account *account, void *record)
{
	ring.ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	COUNT(account->kept);
}

#endif
