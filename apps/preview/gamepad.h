// SPDX-License-Identifier: Apache-2.0
// A gamepad: the left stick turns and looks, the right one climbs, the triggers change the speed (as on the viewer page).
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_gamepad zt_gamepad;

// value -1..1. On the main thread.
typedef void zt_gamepad_fn(void *cookie, const char *control, float value);
typedef void zt_gamepad_named_fn(void *cookie, const char *name);       // one is there

// NULL where it was built without libmanette.
zt_gamepad *zt_gamepad_open(zt_gamepad_fn *fn, zt_gamepad_named_fn *named, void *cookie);
void zt_gamepad_close(zt_gamepad **g);          // takes NULL inside

#ifdef __cplusplus
}
#endif
