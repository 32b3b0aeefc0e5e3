/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Both ends of a socket, as `struct sockaddr` has them: the recorder makes texts of members that the front matter
 * calls addresses.
 */
// kernel: AT_FAMILY sock.__sk_common.skc_family, AT_DPORT sock.__sk_common.skc_dport, AT_NUM sock.__sk_common.skc_num
// kernel: AT_DADDR sock.__sk_common.skc_daddr, AT_SADDR sock.__sk_common.skc_rcv_saddr
// kernel: AT_SPORT inet_sock.inet_sport
// kernel: AT_DADDR6 sock.__sk_common.skc_v6_daddr?, AT_SADDR6 sock.__sk_common.skc_v6_rcv_saddr?
#ifndef SOCKET_H
#define SOCKET_H

#define UNIX 1
#define INET 2
#define INET6 10

/* struct sockaddr_in and sockaddr_in6 in one; the address of the former begins where the flow of the latter is. */
struct inet_address {
	u16 family; /* 0: none */
	u16 port;   /* big-endian, as all that follows */
	u32 flow;
	u32 address[4];
	u32 scope;
};

INLINE void read_address(struct inet_address *to, u64 sk, u16 port, u32 at, u32 at6)
{
	u16 family = READ(u16, sk, AT_FAMILY);
	u32 any = port;

	__builtin_memset(to, 0, sizeof(*to));
	if (family == INET) {
		any |= to->flow = READ(u32, sk, at);
	} else if (family == INET6 && at6) {
		bpf_probe_read_kernel(to->address, sizeof(to->address), (void *)(sk + at6));
		any |= to->address[0] | to->address[1] | to->address[2] | to->address[3];
	}
	to->family = any ? family : 0;
	to->port = port;
}

#ifndef AT_DADDR6
#define AT_DADDR6 0 /* a kernel without IPv6 */
#define AT_SADDR6 0
#endif

INLINE void peer_address(struct inet_address *to, u64 sk)
{
	read_address(to, sk, READ(u16, sk, AT_DPORT), AT_DADDR, AT_DADDR6);
}

/* The port of a socket that is closing is no longer in its hash table's place, AT_NUM. */
INLINE void local_address(struct inet_address *to, u64 sk)
{
	read_address(to, sk, READ(u16, sk, AT_SPORT), AT_SADDR, AT_SADDR6);
}

/* Of a request for a connection, which is not a socket yet. */
INLINE void requested_address(struct inet_address *to, u64 request)
{
	read_address(to, request, __builtin_bswap16(READ(u16, request, AT_NUM)), AT_SADDR, AT_SADDR6);
}

#endif
