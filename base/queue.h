// SPDX-License-Identifier: Apache-2.0
// A bounded queue of pointers: the only place where threads meet.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_queue zt_queue;

// Holds up to `room` (>= 1) pointers. Allocates nothing afterwards.
int  zt_queue_create(zt_queue **out, int room);
// Owns nothing: what is still inside is the caller's to pop first.
void zt_queue_destroy(zt_queue **q);

// From any thread. `until` is monotonic ns: 0 never waits, INT64_MAX waits for ever.
// Push transfers on 0; -EAGAIN: stayed full; -EPIPE: closed.
int  zt_queue_push(zt_queue *q, void *item, int64_t until);
// Pop transfers on 0; -EAGAIN: stayed empty; -EPIPE: closed and empty.
int  zt_queue_pop(zt_queue *q, void **out, int64_t until);

void zt_queue_close(zt_queue *q);       // wakes everyone; what is inside can still be popped
int  zt_queue_length(zt_queue *q);      // a moment's value

#ifdef __cplusplus
}
#endif
