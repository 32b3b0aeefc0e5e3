/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* BCC brings its own copy, which clang has read by now. */
