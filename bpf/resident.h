/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Resident memory of a process, from its mm_struct. */
// kernel: AT_RSS mm_struct.rss_stat, AT_COUNT percpu_counter.count, AT_COUNTERS percpu_counter.counters?
// kernel: AT_ATOMIC mm_rss_stat.count?
#ifndef RESIDENT_H
#define RESIDENT_H
#include <asm/page.h>

/* Since Linux 6.2 the counters are per CPU, and gathered now and then, by 32 pages or twice the CPUs (f1a7941243c1). */
#ifdef AT_ATOMIC
#define PAGES(mm, kind) READ(s64, mm, AT_RSS + AT_ATOMIC + 8 * (kind))
#elif defined(AT_COUNTERS)
#define PAGES(mm, kind) READ(s64, mm, AT_RSS + AT_COUNT + (AT_COUNTERS + 8) * (kind))
#else
#define PAGES(mm, kind) READ(s64, mm, AT_RSS + AT_COUNT + 8 * (kind))
#endif

/* include/linux/mm_types_task.h */
enum { FILE_PAGES, ANONYMOUS_PAGES, SWAPPED_PAGES, SHARED_PAGES };

/* As /proc/PID/status has VmRSS. What was not yet gathered may make it negative. */
INLINE s64 resident_bytes(u64 mm)
{
	return PAGE_SIZE * (PAGES(mm, FILE_PAGES) + PAGES(mm, ANONYMOUS_PAGES) + PAGES(mm, SHARED_PAGES));
}

#endif
