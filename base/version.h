// SPDX-License-Identifier: Apache-2.0
// Which version this is.
#pragma once

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

// Of the headers that a program was built with.
#define ZT_VERSION "0.1.0"

// Of the library that it runs with. From any thread.
const char *zt_version(void);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
