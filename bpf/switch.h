/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What the raw tracepoint sched_switch tells of the thread that leaves its CPU, which still is the current one.
 */
// kernel: AT_STATE task_struct.__state|task_struct.state
#ifndef SWITCH_H
#define SWITCH_H

/* include/linux/sched.h; these bits have had their places since Linux 4.14 */
#define INTERRUPTIBLE 0x1
#define UNINTERRUPTIBLE 0x2
#define STOPPED_OR_TRACED 0xc
#define DEAD 0x80
#define NOLOAD 0x400

/*
 * The state that it waits in; 0 when it could go on, also if it was preempted on its way into a wait. Since Linux 5.18
 * (fa2c3254d7cf) the state is an argument: the thread's own may say by now that somebody is waking it (0x200).
 */
#if LINUX_VERSION_CODE >= 0x51200
#define STATE_LEFT_IN(ctx) ((ctx)->args[0] ? 0 : (u32)(ctx)->args[3])
#else
#define STATE_LEFT_IN(ctx) ((ctx)->args[0] ? 0 : READ(u32, (ctx)->args[1], AT_STATE))
#endif

#endif
