// SPDX-License-Identifier: Apache-2.0
// What devices, precisions and kinds of keys and values are called, on command lines and in manifests.
#include <stddef.h>

#include "apps/setup.h"

const char *const zt_device_names[] = { "auto", "cpu", "cuda", NULL };
const char *const zt_precision_names[] = { "default", "f32", "bf16", "int8", "int4", "fp8", NULL };
const char *const zt_kv_names[] = { "default", "float", "int8", NULL };
