// SPDX-License-Identifier: Apache-2.0
// Built without libmanette (Debian: libmanette-0.2-dev): there are no gamepads.
#include <stddef.h>

#include "apps/preview/gamepad.h"

zt_gamepad *zt_gamepad_open(zt_gamepad_fn *fn, zt_gamepad_named_fn *named, void *cookie)
{
    (void)fn, (void)named, (void)cookie;
    return NULL;
}

void zt_gamepad_close(zt_gamepad **g)
{
    *g = NULL;
}
