// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  packets
// doc:    packets that a network device is given to send or has received, by protocol; above 1000 a second, a sample of each kind
// group:  network
// table:  events
// value:  packets, count, that it is, or was, on the wire: segments that the kernel handles as one count each
// size:   bytes, from the IP header on
// key:    device: its index, plus 2^32 times what the number of its network namespace has in its lower 31 bits
// event:  kind tcp_sent tcp_received udp_sent udp_received icmp_sent icmp_received other_sent other_received
// attach: raw_tracepoint net_dev_queue, raw_tracepoint netif_receive_skb
// cost:   130 ns a packet, up to the limit and beyond (BPF run statistics, on a busy VM with 2 CPUs)
// needs:  Linux 5.8 with BTF
// kernel: AT_LEN sk_buff.len, AT_HEAD sk_buff.head, AT_DATA sk_buff.data, AT_END sk_buff.end
// kernel: AT_NETWORK_HEADER sk_buff.network_header, AT_PROTOCOL sk_buff.protocol, AT_DEV sk_buff.dev
// kernel: AT_GSO_SEGS skb_shared_info.gso_segs
// kernel: AT_IFINDEX net_device.ifindex, AT_ND_NET net_device.nd_net.net, AT_INUM net.ns.inum
/*
 * Rates are sums over weights, which the sampling keeps unbiased; --limit sets another number than 1000. A packet that
 * goes through several devices, such as a bridge and a pair of veth, is an event at each.
 *
 * The thread is the one that ran: the sender's for most of what is sent, and anybody's for what is received. So filters
 * choose what was sent by a process, and no packet is the recorder's own.
 */
#define IN_INTERRUPTS
#ifndef RATE_LIMIT
#define RATE_LIMIT 134 /* of each kind, device and CPU: 1000 a second */
#endif
#include "tracelab.h"

enum kind { TCP_SENT, TCP_RECEIVED, UDP_SENT, UDP_RECEIVED, ICMP_SENT, ICMP_RECEIVED, OTHER_SENT, OTHER_RECEIVED };

#define IPV4 0x0800 /* include/uapi/linux/if_ether.h */
#define IPV6 0x86dd
#define IPV4_PROTOCOL 9 /* where the headers have the protocol of what follows */
#define IPV6_NEXT_HEADER 6

struct record {
	u64 time_ns;
	u64 value;
	u64 size_bytes;
	u64 key;
	u32 pid;
	u32 tid;
	u32 weight;
	u16 cpu;
	u16 kind;
};

INLINE u32 kind_of(u64 skb, u64 header, u32 received)
{
	u32 type = __builtin_bswap16(READ(u16, skb, AT_PROTOCOL)), protocol;

	if (type != IPV4 && type != IPV6)
		return OTHER_SENT + received;
	protocol = READ(u8, header, type == IPV4 ? IPV4_PROTOCOL : IPV6_NEXT_HEADER);
	if (protocol == 6)
		return TCP_SENT + received;
	if (protocol == 17)
		return UDP_SENT + received;
	return (protocol == 1 || protocol == 58 ? ICMP_SENT : OTHER_SENT) + received;
}

INLINE u64 device_of(u64 skb)
{
	u64 device = READ(u64, skb, AT_DEV);

	return READ(u32, device, AT_IFINDEX) | (u64)(READ(u32, READ(u64, device, AT_ND_NET), AT_INUM) & 0x7fffffff) << 32;
}

/* The header of the network is at `header`, which is `before` bytes into what the buffer counts. */
INLINE int packet(u64 skb, u64 header, u32 before, u32 received)
{
	u64 pid_tgid = bpf_get_current_pid_tgid(), device;
	u32 kind = kind_of(skb, header, received), weight;
	struct account *account = seen();
	struct record *record;
	u16 segments;

	if (!account)
		return 0;
	if (!current_asked(pid_tgid >> 32, pid_tgid) || !EVENT_ASKED(kind))
		return filtered(account);
	device = device_of(skb);
	weight = weight_of(account, device << 3 | kind);
	if (!weight)
		return 0;
	record = reserve(account, sizeof(*record));
	if (!record)
		return 0;
	segments = READ(u16, READ(u64, skb, AT_HEAD) + READ(u32, skb, AT_END), AT_GSO_SEGS);
	record->time_ns = bpf_ktime_get_ns();
	record->value = segments ? segments : 1;
	record->size_bytes = READ(u32, skb, AT_LEN) - before;
	record->key = device;
	record->pid = pid_tgid >> 32;
	record->tid = pid_tgid;
	record->weight = weight;
	record->cpu = bpf_get_smp_processor_id();
	record->kind = kind;
	keep(account, record);
	return 0;
}

RAW_TRACEPOINT_PROBE(net_dev_queue)
{
	u64 skb = ctx->args[0], header = READ(u64, skb, AT_HEAD) + READ(u16, skb, AT_NETWORK_HEADER);

	return packet(skb, header, header - READ(u64, skb, AT_DATA), 0);
}

/* The header of the link has been taken off by now. */
RAW_TRACEPOINT_PROBE(netif_receive_skb)
{
	u64 skb = ctx->args[0];

	return packet(skb, READ(u64, skb, AT_DATA), 0, 1);
}
