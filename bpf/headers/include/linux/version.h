/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The version of the running kernel reaches clang as LINUX_VERSION_CODE. */
#ifndef KERNEL_VERSION
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + ((c) > 255 ? 255 : (c)))
#endif
#ifndef LINUX_VERSION_CODE
#define LINUX_VERSION_CODE KERNEL_VERSION(5, 8, 0)
#endif
