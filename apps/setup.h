// SPDX-License-Identifier: Apache-2.0
// What every program that runs a model begins with: a device, a model, an engine.
#pragma once

#include "apps/options.h"
#include "engine/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

extern const char *const zt_device_names[];         // choices of --device: auto cpu cuda
extern const char *const zt_precision_names[];      // choices of --precision
extern const char *const zt_kv_names[];             // choices of --kv: default float int8, as enum zt_kv_choice

// Zero means the default in parentheses.
typedef struct zt_setup {
    const char *path;           // the model's (the shipped one)
    int         device_name;    // index into zt_device_names (auto)
    int         precision_name; // index into zt_precision_names (the model's own)
    int         kv;             // enum zt_kv_choice (the model's own)
    int64_t     threads;        // (as many as there are CPUs)
    bool        live;           // lock the device's memory if that is allowed
    bool        realtime;       // and run its threads before others
    void      (*on_device)(zt_device *d);   // called before the model is opened on it, or NULL

    zt_device  *device;         // filled by zt_setup_open()
    zt_model   *model;
    zt_engine  *engine;
} zt_setup;

// 0, or an exit code; what failed has been said. `engine` false: device and model only.
int  zt_setup_open(zt_setup *s, bool engine);
void zt_setup_close(zt_setup *s);       // takes a zeroed one, or one that failed to open

// Says once which words of the prompt are unknown, and that a default stands in when all are.
void zt_setup_report_prompt(const zt_setup *s, zt_session *session);

#ifdef __cplusplus
}
#endif
