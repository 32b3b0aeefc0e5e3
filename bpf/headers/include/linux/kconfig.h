/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* clang reads this before anything else; it stands for the configuration of a kernel build. */
#define CONFIG_BPF_SYSCALL 1
#define CONFIG_64BIT 1
#ifdef __x86_64__
#define CONFIG_X86_64 1
#endif
