// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  retransmits
// doc:    one event per TCP packet that is sent again, and why
// group:  network
// table:  events
// value:  segments, count, that the packet is cut into on the wire
// ret:    0, or why it could not be sent as a negative errno; before Linux 6.16 those that could not be sent are no events
// size:   bytes of data that were sent again
// key:    the connection, as in probe tcp; of a synack, the listening socket
// event:  why timeout fast probe syn synack
// addresses: local, peer
// attach: raw_tracepoint tcp_retransmit_skb, raw_tracepoint inet_sock_set_state
// also:   raw_tracepoint tcp_retransmit_synack
// cost:   540 ns a packet that is sent again (BPF run statistics, on a busy VM with 2 CPUs)
// needs:  Linux 5.8 with BTF
// kernel: AT_STATE sock.__sk_common.skc_state, AT_CA_STATE inet_connection_sock.icsk_ca_state
// kernel: AT_LEN sk_buff.len, AT_CB sk_buff.cb, AT_SEGMENTS tcp_skb_cb.tcp_gso_segs
/*
 * timeout: nothing was acknowledged for too long; fast: others behind it were; probe: one more at the end, in case the
 * last ones got lost; syn and synack: nobody answers. Together they are RetransSegs in /proc/net/snmp.
 *
 * The thread is the owner's, see owner.h, and 0 when that was not seen.
 */
#define IN_INTERRUPTS
#include "tracelab.h"
#include "starter.h"
#include "socket.h"
#include "owner.h"

enum why { TIMEOUT, FAST, PROBE, SYN, SYNACK };

#define RECOVERY 3 /* enum tcp_ca_state in include/uapi/linux/tcp.h */
#define LOSS 4

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
	u16 why;
	char local[28];
	char peer[28];
};

RAW_TRACEPOINT_PROBE(inet_sock_set_state)
{
	u64 sk = ctx->args[0];
	struct connection connection = {};

	if (READ(u16, sk, AT_PROTOCOL) == TCP)
		follow(&connection, sk, ctx->args[1], ctx->args[2], bpf_ktime_get_ns());
	return 0;
}

/* `about` is what has the addresses: the socket, or the request that comes before one. */
INLINE int retransmitted(u64 sk, u64 about, u32 why, u64 segments, u64 bytes, s64 ret)
{
	struct connection *known = connections.lookup(&sk);
	struct starter owner;
	struct account *account;
	struct record *record;
	u32 weight;

	unknown_starts(&owner);
	if (known)
		owner = known->owner;
	account = asked_of(&owner);
	if (!account)
		return 0;
	if (!EVENT_ASKED(why) || !RESULT_ASKED(ret))
		return filtered(account);
	weight = weight_of(account, why);
	if (!weight)
		return 0;
	record = reserve(account, sizeof(*record));
	if (!record)
		return 0;
	record->time_ns = bpf_ktime_get_ns();
	record->value = segments;
	record->ret = ret;
	record->size_bytes = bytes;
	record->key = sk;
	record->pid = owner.pid;
	record->tid = owner.tid;
	record->weight = weight;
	record->cpu = bpf_get_smp_processor_id();
	record->why = why;
	if (why == SYNACK)
		requested_address((struct inet_address *)record->local, about);
	else
		local_address((struct inet_address *)record->local, about);
	peer_address((struct inet_address *)record->peer, about);
	keep(account, record);
	return 0;
}

INLINE u32 why_again(u64 sk)
{
	u32 state = READ(u8, sk, AT_STATE), control = READ(u8, sk, AT_CA_STATE) & 0x1f; /* five bits of the byte */

	if (state == SYN_SENT || state == SYN_RECV)
		return SYN;
	return control == LOSS ? TIMEOUT : control == RECOVERY ? FAST : PROBE;
}

RAW_TRACEPOINT_PROBE(tcp_retransmit_skb)
{
	u64 sk = ctx->args[0], skb = ctx->args[1];
	s64 ret = 0;

#if LINUX_VERSION_CODE >= 0x61000
	ret = (s32)ctx->args[2];
#endif
	return retransmitted(sk, sk, why_again(sk), READ(u16, skb, AT_CB + AT_SEGMENTS), READ(u32, skb, AT_LEN), ret);
}

RAW_TRACEPOINT_PROBE(tcp_retransmit_synack)
{
	return retransmitted(ctx->args[0], ctx->args[1], SYNACK, 1, 0, 0);
}
