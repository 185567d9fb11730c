// SPDX-License-Identifier: Apache-2.0
// USDT probes: nothing until someone attaches (bpftrace -l 'usdt:BINARY:zoetrope:*'), nothing at all without sys/sdt.h.
//   batch(jobs, blocks, ns)            passes that ran
//   shown(lane, slot, steps)           a picture was made
//   outcome(lane, slot, outcome)       a slot was decided, as enum zt_outcome counts
//   ladder(lane, window, top_k, period)
#pragma once

#if defined(__has_include)
#if __has_include(<sys/sdt.h>)
#include <sys/sdt.h>
#endif
#endif

#ifdef DTRACE_PROBE3
#define ZT_PROBE3(name, a, b, c)    DTRACE_PROBE3(zoetrope, name, a, b, c)
#define ZT_PROBE4(name, a, b, c, d) DTRACE_PROBE4(zoetrope, name, a, b, c, d)
#else
#define ZT_PROBE3(name, a, b, c)    ((void)(a), (void)(b), (void)(c))
#define ZT_PROBE4(name, a, b, c, d) ((void)(a), (void)(b), (void)(c), (void)(d))
#endif
