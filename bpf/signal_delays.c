// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  signal_delays
// doc:    one event per signal that a thread receives, and how long it had waited: blocked, or for the thread to get a CPU
// group:  signals and locks
// table:  events
// value:  delay, ns, since it was sent; null when that was not seen, or could be one of several that waited
// ret:    what is done: 0 what the kernel does by itself, such as to end the process; 1 a handler of the process is called
// key:    tid of the thread that sent it, or ran when it came; null when that was not seen
// event:  number none SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1 SIGSEGV SIGUSR2 SIGPIPE SIGALRM SIGTERM SIGSTKFLT SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGXCPU SIGXFSZ SIGVTALRM SIGPROF SIGWINCH SIGIO SIGPWR SIGSYS realtime
// attach: raw_tracepoint signal_generate, raw_tracepoint signal_deliver
// needs:  Linux 5.8 with BTF
// cost:   340 ns a signal, on a VM with 2 CPUs
// kernel: AT_PID task_struct.pid, AT_TGID task_struct.tgid, AT_HANDLER k_sigaction.sa.sa_handler
// kernel: AT_SIGNAL task_struct.signal, AT_GROUP_CODE signal_struct.group_exit_code
/*
 * Signals that are ignored never get here. What ends the process is received by each of its threads: the delay is told
 * for the first. So is the end by exit_group(2) or execve(2), to all other threads: as a SIGKILL that nobody sent.
 */
#define IN_INTERRUPTS
#include "tracelab.h"

#ifndef WAITING
#define WAITING 16384 /* signals at one time; of those beyond, the delay of some stays unknown */
#endif
#define REALTIME 32
#define NONE (~0ULL) /* stored as null */
#define QUEUED 0     /* TRACE_SIGNAL_DELIVERED: only now does it wait */
#define SIGKILL 9
#define SIG_DFL 0
#define SIG_IGN 1

struct record {
	u64 time_ns;
	u64 value;
	u64 ret;
	u64 key;
	u32 pid;
	u32 tid;
	u32 weight;
	u16 cpu;
	u16 number;
};

struct to {
	u32 id; /* tid, or pid when sent to the process */
	u16 signal;
	u16 whole;
};

struct sent {
	u64 start_ns;
	u32 sender;
	u32 times;
};
BPF_TABLE("lru_hash", struct to, struct sent, waiting, WAITING);

RAW_TRACEPOINT_PROBE(signal_generate)
{
	u64 task = ctx->args[2];
	struct to to = {.signal = ctx->args[0], .whole = (u8)ctx->args[3]};
	struct sent *known, sent = {.times = 1};

	if ((u32)ctx->args[4] != QUEUED)
		return 0;
	to.id = to.whole ? READ(u32, task, AT_TGID) : READ(u32, task, AT_PID);
	known = waiting.lookup(&to);
	if (known && to.signal >= REALTIME) {
		known->times++; /* only these wait more than once; which one is delivered is not told */
		return 0;
	}
	sent.start_ns = bpf_ktime_get_ns();
	sent.sender = bpf_get_current_pid_tgid();
	waiting.update(&to, &sent);
	return 0;
}

/* What waited for this thread, or for its process, taken off the map; its times are 0 when nothing did. */
INLINE void take_waiting(struct sent *sent, struct to *to)
{
	struct sent *known = waiting.lookup(to);

	if (!known)
		return;
	*sent = *known;
	if (known->times > 1)
		known->times--;
	else
		waiting.delete(to);
}

/* A signal that ends a process is delivered as SIGKILL; which one it was is in the code that the process ends with. */
INLINE u32 signal_of(u32 delivered)
{
	u32 code;

	if (delivered != SIGKILL)
		return delivered;
	code = READ(u32, READ(u64, bpf_get_current_task(), AT_SIGNAL), AT_GROUP_CODE) & 0x7f;
	return code ? code : SIGKILL;
}

RAW_TRACEPOINT_PROBE(signal_deliver)
{
	u64 pid_tgid = bpf_get_current_pid_tgid(), now = bpf_ktime_get_ns(), handler, delay;
	u32 signal = signal_of(ctx->args[0]), number = signal < REALTIME ? signal : REALTIME, weight;
	struct to to = {.id = pid_tgid, .signal = signal};
	struct sent sent = {};
	struct account *account = asked(pid_tgid);
	struct record *record;

	take_waiting(&sent, &to);
	if (!sent.times) {
		to.id = pid_tgid >> 32;
		to.whole = 1;
		take_waiting(&sent, &to);
	}
	if (!account)
		return 0;
	delay = sent.times == 1 ? now - sent.start_ns : NONE;
	if (!EVENT_ASKED(number) || !RESULT_ASKED(0) || !DURATION_ASKED(delay == NONE ? 0 : delay))
		return filtered(account);
	weight = weight_of(account, number);
	if (!weight)
		return 0;
	record = reserve(account, sizeof(*record));
	if (!record)
		return 0;
	handler = READ(u64, ctx->args[2], AT_HANDLER);
	record->time_ns = now;
	record->value = delay;
	record->ret = handler != SIG_DFL && handler != SIG_IGN;
	record->key = sent.times == 1 ? sent.sender : NONE;
	record->pid = pid_tgid >> 32;
	record->tid = pid_tgid;
	record->weight = weight;
	record->cpu = bpf_get_smp_processor_id();
	record->number = number;
	keep(account, record);
	return 0;
}
