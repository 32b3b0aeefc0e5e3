// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  tcp
// doc:    one event per change of a TCP connection's state: how old it is, and what it has carried so far
// group:  network
// table:  events
// value:  age, ns, of the connection since it began to be set up; null when that was before the recording
// ret:    bytes sent, each counted once
// size:   bytes received
// key:    the connection, as a number that it alone has while it lives
// event:  state unknown established syn_sent syn_recv fin_wait1 fin_wait2 time_wait close close_wait last_ack listen closing new_syn_recv reset refused timed_out
// addresses: local, peer
// attach: raw_tracepoint inet_sock_set_state
// cost:   260 ns a change of state (BPF run statistics, on a busy VM with 2 CPUs)
// needs:  Linux 5.8 with BTF
// kernel: AT_ERROR sock.sk_err, AT_FLAGS sock.__sk_common.skc_flags
// kernel: AT_RECEIVED tcp_sock.bytes_received, AT_SENT tcp_sock.bytes_sent, AT_RETRANSMITTED tcp_sock.bytes_retrans
/*
 * The event is the state that the connection has from now on; for the last one it is close, or what went wrong: reset,
 * refused, timed_out. So the value of these is its lifetime, and that of established how long it took to connect. What
 * the kernel keeps of a connection in time_wait is no longer the connection: for this probe it is closed.
 *
 * The thread is the owner's, see owner.h, and 0 while it is nobody's. In syn_recv the peer may not be known yet.
 */
#define IN_INTERRUPTS
#include "tracelab.h"
#include "starter.h"
#include "socket.h"
#include "owner.h"

#define RESET 13
#define REFUSED 14
#define TIMED_OUT 15

struct record {
	u64 time_ns;
	u64 value;
	u64 ret;
	u64 size_bytes;
	u64 key;
	u32 pid;
	u32 tid;
	u32 weight;
	u16 cpu;
	u16 state;
	char local[28];
	char peer[28];
};

#define FIN_RECEIVED 2 /* 1 << SOCK_DONE of enum sock_flags */

/* A FIN takes a place in the sequence, and the kernel counts it as a byte. */
INLINE u64 received(u64 sk)
{
	u64 bytes = READ(u64, sk, AT_RECEIVED);

	return bytes && READ(u64, sk, AT_FLAGS) & FIN_RECEIVED ? bytes - 1 : bytes;
}

INLINE u32 name_of(u32 state, u32 error)
{
	if (state != CLOSE)
		return state;
	return error == 104 || error == 32 ? RESET : error == 111 ? REFUSED : error == 110 ? TIMED_OUT : CLOSE;
}

RAW_TRACEPOINT_PROBE(inet_sock_set_state)
{
	u64 sk = ctx->args[0], now = bpf_ktime_get_ns(), age;
	u32 old = ctx->args[1], state = ctx->args[2], name, error, weight;
	struct connection connection = {};
	struct account *account;
	struct record *record;

	if (READ(u16, sk, AT_PROTOCOL) != TCP)
		return 0;
	follow(&connection, sk, old, state, now);
	account = asked_of(&connection.owner);
	if (!account)
		return 0;
	error = READ(u32, sk, AT_ERROR);
	name = name_of(state, error);
	age = connection.start_ns ? now - connection.start_ns : ~0ULL;
	if (!EVENT_ASKED(name) || !DURATION_ASKED(age == ~0ULL ? 0 : age) || !RESULT_ASKED(-(s64)error))
		return filtered(account);
	weight = weight_of(account, name);
	if (!weight)
		return 0;
	record = reserve(account, sizeof(*record));
	if (!record)
		return 0;
	record->time_ns = now;
	record->value = age;
	record->ret = READ(u64, sk, AT_SENT) - READ(u64, sk, AT_RETRANSMITTED);
	record->size_bytes = received(sk);
	record->key = sk;
	record->pid = connection.owner.pid;
	record->tid = connection.owner.tid;
	record->weight = weight;
	record->cpu = bpf_get_smp_processor_id();
	record->state = name;
	local_address((struct inet_address *)record->local, sk);
	peer_address((struct inet_address *)record->peer, sk);
	keep(account, record);
	return 0;
}
