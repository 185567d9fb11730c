// SPDX-License-Identifier: Apache-2.0
// All of libzoetrope: a device, a model on it, an engine with both, and sessions that make pictures on time.
//
// Functions return 0 or a negative errno and write results through their first parameter, which failure leaves as it was.
// Whoever creates or opens a thing destroys or closes it, in the opposite order; destructors take the address of the
// pointer, write NULL there, and do nothing where NULL is. Times are nanoseconds of CLOCK_MONOTONIC. What fails is logged
// once (zoetrope/log.h). Encoders and transports are not in the library: zoetrope-serve and the GStreamer element have them.
#pragma once

#include "apps/paths.h"
#include "base/clock.h"
#include "base/frame.h"
#include "base/log.h"
#include "base/version.h"
#include "diffusion/public.h"
#include "engine/engine.h"
#include "engine/metrics.h"
#include "engine/replay.h"
#include "kernels/public.h"
