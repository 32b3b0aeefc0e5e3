/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* BCC sizes stack maps with this, so that it must be a constant expression. */
#ifndef TRACELAB_LINUX_LOG2_H
#define TRACELAB_LINUX_LOG2_H
#define TRACELAB_FILL1(n) ((n) | ((n) >> 1))
#define TRACELAB_FILL2(n) (TRACELAB_FILL1(n) | (TRACELAB_FILL1(n) >> 2))
#define TRACELAB_FILL4(n) (TRACELAB_FILL2(n) | (TRACELAB_FILL2(n) >> 4))
#define TRACELAB_FILL8(n) (TRACELAB_FILL4(n) | (TRACELAB_FILL4(n) >> 8))
#define TRACELAB_FILL16(n) (TRACELAB_FILL8(n) | (TRACELAB_FILL8(n) >> 16))
#define roundup_pow_of_two(n) (TRACELAB_FILL16((unsigned int)(n) - 1) + 1)
#endif
