/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Whose a TCP connection is. Most of its life happens in interrupts, where the thread that runs is anybody's; but the
 * changes of state that follow from connect(), listen(), shutdown() and close() happen in the thread that called. A
 * connection that was accepted is at first its listener's.
 */
// kernel: AT_PROTOCOL sock.sk_protocol, AT_NET sock.__sk_common.skc_net.net, AT_INUM net.ns.inum
#ifndef OWNER_H
#define OWNER_H

#ifndef CONNECTIONS
#define CONNECTIONS 65536 /* at one time; what is beyond is nobody's */
#endif
#define TCP 6

enum state { ESTABLISHED = 1, SYN_SENT, SYN_RECV, FIN_WAIT1, FIN_WAIT2, TIME_WAIT, CLOSE, CLOSE_WAIT, LAST_ACK, LISTEN };

struct connection {
	u64 start_ns;
	struct starter owner;
	u32 unused;
};
BPF_HASH(connections, u64, struct connection, CONNECTIONS); /* by struct sock */
BPF_TABLE("lru_hash", u64, struct starter, listeners, 4096); /* by network namespace and port */

INLINE u64 listener_of(u64 sk)
{
	return READ(u16, sk, AT_NUM) | (u64)READ(u32, READ(u64, sk, AT_NET), AT_INUM) << 16;
}

INLINE int changed_by_its_thread(u32 state)
{
	return state == SYN_SENT || state == LISTEN || state == FIN_WAIT1 || state == LAST_ACK;
}

/* What is known of a connection whose state changes from `old` to `state`, copied; to be forgotten if that is CLOSE. */
INLINE void follow(struct connection *to, u64 sk, u32 old, u32 state, u64 now)
{
	struct connection *known = connections.lookup(&sk);
	int begins = state == SYN_SENT || state == LISTEN || state == SYN_RECV && old != SYN_SENT;

	if (known && !begins)
		*to = *known;
	else
		unknown_starts(&to->owner);
	if (begins)
		to->start_ns = now;
	if (changed_by_its_thread(state)) {
		current_starts(&to->owner);
	} else if (begins) {
		u64 port = listener_of(sk);
		struct starter *listener = listeners.lookup(&port);

		if (listener)
			to->owner = *listener;
	}
	if (state == LISTEN) {
		u64 port = listener_of(sk);

		listeners.update(&port, &to->owner);
	}
	if (state == CLOSE)
		connections.delete(&sk);
	else
		connections.update(&sk, to);
}

#endif
