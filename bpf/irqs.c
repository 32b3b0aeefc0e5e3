// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// probe:  irqs
// doc:    one event per run of a hard interrupt's handler, when it ends: devices', and the CPU's own on x86
// group:  interrupts
// table:  events
// value:  duration, ns, of the handler; null when it began before the recording
// ret:    of a device's: 0 not its device, 1 handled, 2 wakes a thread for the rest, 3 both
// key:    of a device's: the number in /proc/interrupts; else the vector
// event:  number device timer reschedule call call_single irq_work platform_ipi thermal threshold error spurious
// rings:  ring record, texts text
// attach: raw_tracepoint irq_handler_entry, raw_tracepoint irq_handler_exit
// also:   raw_tracepoint local_timer_entry, raw_tracepoint local_timer_exit
// also:   raw_tracepoint reschedule_entry, raw_tracepoint reschedule_exit
// also:   raw_tracepoint call_function_entry, raw_tracepoint call_function_exit
// also:   raw_tracepoint call_function_single_entry, raw_tracepoint call_function_single_exit
// also:   raw_tracepoint irq_work_entry, raw_tracepoint irq_work_exit
// also:   raw_tracepoint x86_platform_ipi_entry, raw_tracepoint x86_platform_ipi_exit
// also:   raw_tracepoint thermal_apic_entry, raw_tracepoint thermal_apic_exit
// also:   raw_tracepoint threshold_apic_entry, raw_tracepoint threshold_apic_exit
// also:   raw_tracepoint error_apic_entry, raw_tracepoint error_apic_exit
// also:   raw_tracepoint spurious_apic_entry, raw_tracepoint spurious_apic_exit
// cost:   570 ns an interrupt, both programs, run on caches that are cold (BPF run statistics, on a busy VM with 2 CPUs)
// needs:  Linux 5.8 with BTF
// kernel: AT_NAME irqaction.name
/*
 * Of each device's number, the first event carries the name of the handler as a text. Interrupts by which a hypervisor
 * or a non-maskable source calls have no tracepoints.
 */
#define IN_INTERRUPTS
#define HAS_KEY
#define HAS_RET
#define HAS_NUMBER
#include "tracelab.h"

struct record {
	u64 time_ns;
	u64 value;
	u64 key;
	u64 ret;
	u32 pid;
	u32 tid;
	u32 weight;
	u16 cpu;
	u16 number;
};

#include "interrupt.h"

#define IRQS 8192 /* numbers whose names are told */

enum kind { DEVICE, TIMER, RESCHEDULE, CALL, CALL_SINGLE, IRQ_WORK, PLATFORM_IPI, THERMAL, THRESHOLD, ERROR, SPURIOUS };

struct text {
	u64 time_ns;
	u32 tid;
	u16 number;
	u16 cpu;
	char name[32];
};
BPF_RINGBUF_OUTPUT(texts, 16);
BPF_ARRAY(named, u8, IRQS);
BPF_PERCPU_ARRAY(running, struct begun, 1); /* handlers run with interrupts off, one after the other */

INLINE void name_once(u32 irq, u64 action, u64 time_ns)
{
	u8 *done = named.lookup(&irq);
	struct text *text;

	if (!done || *done)
		return;
	text = texts.ringbuf_reserve(sizeof(*text));
	if (!text)
		return; /* the next one will tell */
	*done = 1;
	text->time_ns = time_ns;
	text->tid = bpf_get_current_pid_tgid();
	text->number = DEVICE;
	text->name[0] = 0;
	bpf_probe_read_kernel_str(text->name, sizeof(text->name), READ(void *, action, AT_NAME));
	texts.ringbuf_submit(text, BPF_RB_NO_WAKEUP);
}

RAW_TRACEPOINT_PROBE(irq_handler_entry)
{
	int zero = 0;

	begin(running.lookup(&zero), ctx->args[1]);
	return 0;
}

RAW_TRACEPOINT_PROBE(irq_handler_exit)
{
	u64 action = ctx->args[1], now = bpf_ktime_get_ns();
	u32 irq = ctx->args[0];
	int zero = 0;

	if (finish(running.lookup(&zero), now, action, irq, (u32)ctx->args[2], DEVICE))
		name_once(irq, action, now);
	return 0;
}

INLINE int vector_begins(u64 vector)
{
	int zero = 0;

	begin(running.lookup(&zero), vector);
	return 0;
}

INLINE int vector_ends(u64 vector, u32 number)
{
	int zero = 0;

	finish(running.lookup(&zero), bpf_ktime_get_ns(), vector, vector, NONE, number);
	return 0;
}

/* The interrupts of the CPU itself: their tracepoints tell the vector. */
#define BETWEEN(entry, exit, number)                          \
	RAW_TRACEPOINT_PROBE(entry)                           \
	{                                                     \
		return vector_begins(ctx->args[0]);           \
	}                                                     \
	RAW_TRACEPOINT_PROBE(exit)                            \
	{                                                     \
		return vector_ends(ctx->args[0], number);     \
	}

BETWEEN(local_timer_entry, local_timer_exit, TIMER)
BETWEEN(reschedule_entry, reschedule_exit, RESCHEDULE)
BETWEEN(call_function_entry, call_function_exit, CALL)
BETWEEN(call_function_single_entry, call_function_single_exit, CALL_SINGLE)
BETWEEN(irq_work_entry, irq_work_exit, IRQ_WORK)
BETWEEN(x86_platform_ipi_entry, x86_platform_ipi_exit, PLATFORM_IPI)
BETWEEN(thermal_apic_entry, thermal_apic_exit, THERMAL)
BETWEEN(threshold_apic_entry, threshold_apic_exit, THRESHOLD)
BETWEEN(error_apic_entry, error_apic_exit, ERROR)
BETWEEN(spurious_apic_entry, spurious_apic_exit, SPURIOUS)
