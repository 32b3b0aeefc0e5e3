// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  sockets
// doc:    one event per connect() and accept() that has come back: to whom and from whom, and how long it took
// group:  network
// table:  events
// value:  duration, ns, of the call; that of accept() is mostly the wait for somebody to connect; null when it began before the recording
// ret:    0, or the accepted file's number; negative errno on failure
// key:    the socket, as a number that it alone has while it lives: that of its connection in probe tcp; null without one
// event:  call connect accept
// addresses: local, peer
// attach: tracepoint syscalls:sys_enter_connect, tracepoint syscalls:sys_exit_connect, tracepoint syscalls:sys_enter_accept, tracepoint syscalls:sys_exit_accept, tracepoint syscalls:sys_enter_accept4, tracepoint syscalls:sys_exit_accept4
// or:     raw_tracepoint sys_enter, raw_tracepoint sys_exit
// cost:   330 ns a call, both programs; nothing for other calls but the slow path of system calls (BPF run statistics, on a busy VM with 2 CPUs)
// needs:  Linux 5.8 with BTF
// kernel: AT_FILES task_struct.files, AT_FDT files_struct.fdt, AT_FD fdtable.fd, AT_MAX_FDS fdtable.max_fds
// kernel: AT_PRIVATE file.private_data, AT_FILE socket.file, AT_SK socket.sk
// kernel: AT_UNIX_ADDRESS unix_sock.addr?, AT_UNIX_LEN unix_address.len?, AT_UNIX_NAME unix_address.name?
/*
 * Texts: the address that connect() was called with as `peer`, whatever came of it; the client's after accept(); and
 * the own address as `local`. Both of a Unix socket are paths or, after an @, abstract names; clients have none.
 * Calls by io_uring, and those of 32-bit programs, are not seen. The tracepoints of single calls come first, because
 * those of all of them would cost every call of the machine something.
 */
#include "tracelab.h"
#include "socket.h"

#ifndef SLOTS
#define SLOTS 32768 /* a power of two; as many as there can be threads, so that none shares a slot */
#endif
#define ADDRESS_BYTES 112 /* struct sockaddr_un and a little */

enum call { CONNECT, ACCEPT };

struct record {
	u64 time_ns;
	u64 value;
	s64 ret;
	u64 key;
	u32 pid;
	u32 tid;
	u32 weight;
	u16 cpu;
	u16 call;
	char local[ADDRESS_BYTES];
	char peer[ADDRESS_BYTES];
};

struct slot {
	u64 start_ns;
	u64 address;
	u32 bytes; /* of the address */
	u32 fd;
	u32 tid;
	u32 call;
};
BPF_ARRAY(slots, struct slot, SLOTS);

INLINE int enter(u32 call, u32 fd, u64 address, u32 bytes)
{
	u32 tid = bpf_get_current_pid_tgid(), index = tid & (SLOTS - 1);
	struct slot *slot = slots.lookup(&index);

	if (!slot)
		return 0;
	slot->address = address;
	slot->bytes = bytes;
	slot->fd = fd;
	slot->tid = tid;
	slot->call = call;
	slot->start_ns = bpf_ktime_get_ns();
	return 0;
}

/* The socket that a file of this process is, 0 when it is none. */
INLINE u64 socket_of(u32 fd)
{
	u64 task = bpf_get_current_task();
	u64 table = READ(u64, READ(u64, task, AT_FILES), AT_FDT), file, socket;

	if (fd >= READ(u32, table, AT_MAX_FDS))
		return 0;
	file = READ(u64, READ(u64, table, AT_FD) + 8 * (u64)fd, 0);
	socket = file ? READ(u64, file, AT_PRIVATE) : 0;
	if (!socket || READ(u64, socket, AT_FILE) != file)
		return 0;
	return READ(u64, socket, AT_SK);
}

INLINE void keep_local(char *to, u64 sk)
{
	u16 family = READ(u16, sk, AT_FAMILY);

	if (family == INET || family == INET6)
		local_address((struct inet_address *)to, sk);
#ifdef AT_UNIX_NAME
	if (family == UNIX) {
		u64 address = READ(u64, sk, AT_UNIX_ADDRESS);
		u32 bytes = address ? READ(u32, address, AT_UNIX_LEN) : 0;

		if (bytes > ADDRESS_BYTES)
			bytes = ADDRESS_BYTES;
		asm volatile("" : "+r"(bytes));
		if (bytes && bytes <= ADDRESS_BYTES)
			bpf_probe_read_kernel(to, bytes, (void *)(address + AT_UNIX_NAME));
	}
#endif
}

INLINE void keep_asked(char *to, struct slot *slot)
{
	u32 bytes = slot->bytes;

	if (bytes > ADDRESS_BYTES)
		bytes = ADDRESS_BYTES;
	asm volatile("" : "+r"(bytes));
	if (bytes && bytes <= ADDRESS_BYTES)
		bpf_probe_read_user(to, bytes, (void *)slot->address);
}

/* `slot` is what the call began with; 0 when that was not seen. */
INLINE int leave(u32 call, s64 ret, struct slot *slot)
{
	u64 pid_tgid = bpf_get_current_pid_tgid(), now = bpf_ktime_get_ns(), value, sk;
	struct account *account = asked(pid_tgid);
	struct record *record;
	u32 weight;

	if (!account)
		return 0;
	value = slot ? now - slot->start_ns : ~0ULL;
	if (!EVENT_ASKED(call) || !RESULT_ASKED(ret) || !DURATION_ASKED(slot ? value : 0))
		return filtered(account);
	weight = weight_of(account, call);
	if (!weight)
		return 0;
	record = reserve(account, sizeof(*record));
	if (!record)
		return 0;
	__builtin_memset(record->local, 0, sizeof(record->local));
	__builtin_memset(record->peer, 0, sizeof(record->peer));
	sk = call == ACCEPT ? ret >= 0 ? socket_of(ret) : slot ? socket_of(slot->fd) : 0 : slot ? socket_of(slot->fd) : 0;
	record->time_ns = now;
	record->value = value;
	record->ret = ret;
	record->key = sk ? sk : ~0ULL;
	record->pid = pid_tgid >> 32;
	record->tid = pid_tgid;
	record->weight = weight;
	record->cpu = bpf_get_smp_processor_id();
	record->call = call;
	if (sk)
		keep_local(record->local, sk);
	if (call == CONNECT && slot)
		keep_asked(record->peer, slot);
	else if (call == ACCEPT && ret >= 0 && sk)
		peer_address((struct inet_address *)record->peer, sk);
	keep(account, record);
	return 0;
}

INLINE struct slot *slot_of(void)
{
	u32 tid = bpf_get_current_pid_tgid(), index = tid & (SLOTS - 1);
	struct slot *slot = slots.lookup(&index);

	return slot && slot->tid == tid && slot->start_ns ? slot : 0;
}

INLINE int exit_of(u32 call, s64 ret)
{
	struct slot *slot = slot_of();

	leave(call, ret, slot);
	if (slot)
		slot->start_ns = 0;
	return 0;
}

#if WAY == 0
TRACEPOINT_PROBE(syscalls, sys_enter_connect)
{
	return enter(CONNECT, args->fd, (u64)args->uservaddr, args->addrlen);
}

TRACEPOINT_PROBE(syscalls, sys_exit_connect)
{
	return exit_of(CONNECT, args->ret);
}

TRACEPOINT_PROBE(syscalls, sys_enter_accept)
{
	return enter(ACCEPT, args->fd, 0, 0);
}

TRACEPOINT_PROBE(syscalls, sys_exit_accept)
{
	return exit_of(ACCEPT, args->ret);
}

TRACEPOINT_PROBE(syscalls, sys_enter_accept4)
{
	return enter(ACCEPT, args->fd, 0, 0);
}

TRACEPOINT_PROBE(syscalls, sys_exit_accept4)
{
	return exit_of(ACCEPT, args->ret);
}
#else
#ifdef __x86_64__
#define IS_CONNECT(nr) ((nr) == 42)
#define IS_ACCEPT(nr) ((nr) == 43 || (nr) == 288)
#define FIRST 112 /* pt_regs.di, si, dx */
#define SECOND 104
#define THIRD 96
#else
#define IS_CONNECT(nr) ((nr) == 203)
#define IS_ACCEPT(nr) ((nr) == 202 || (nr) == 242)
#define FIRST 272 /* pt_regs.orig_x0, regs[1], regs[2] of arm64 */
#define SECOND 8
#define THIRD 16
#endif

RAW_TRACEPOINT_PROBE(sys_enter)
{
	u64 nr = ctx->args[1], regs = ctx->args[0];

	if (IS_CONNECT(nr))
		return enter(CONNECT, READ(u32, regs, FIRST), READ(u64, regs, SECOND), READ(u32, regs, THIRD));
	if (IS_ACCEPT(nr))
		return enter(ACCEPT, READ(u32, regs, FIRST), 0, 0);
	return 0;
}

/* Calls that began before the recording are no events: to tell them would cost every call something. */
RAW_TRACEPOINT_PROBE(sys_exit)
{
	struct slot *slot = slot_of();

	return slot ? exit_of(slot->call, ctx->args[1]) : 0;
}
#endif
