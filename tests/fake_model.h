// SPDX-License-Identifier: Apache-2.0
// A model without weights for tests of the engine: it takes as long as it is told and writes down what is asked of it.
#pragma once

#include <stdint.h>

#include "diffusion/model.h"

#define FAKE_FRAMES 4096

struct fake_model_control {
    // Set before the engine starts
    int64_t pass, decode;               // ns that they take
    _Atomic int64_t memory;             // and that the memory of a state takes
    int     fail_pass;                  // this pass (from 1) returns -ENOMEM; 0: none
    int     fail_state;                 // zt_state_allocate returns -ENOMEM
    // Read after the session is done
    int     passes, commits, merged, decodes, slices, most_jobs;
    struct {
        char  prompt[64];
        float control[ZT_MAX_CONTROLS];
        int   steps;
        float t[ZT_MAX_STEPS], t_next;  // of each step; of the last one
        int   shown_after;              // steps before the decode
    } frame[FAKE_FRAMES];               // by model_frame
};

extern struct fake_model_control fake;

// 64x32, 25 fps, 2 steps, 4 for the first frame, controls "yaw" "pitch", default prompt "mountains"; knows that word
// and "sea".
zt_model *fake_model_open(zt_device *d);
