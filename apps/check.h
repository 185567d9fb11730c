// SPDX-License-Identifier: Apache-2.0
// Runs parity cases: inputs and expected outputs in safetensors, described by case.json.
#pragma once

#include <cjson/cJSON.h>
#include <stdbool.h>

#include "diffusion/internal.h"

#ifdef __cplusplus
extern "C" {
#endif

// One case in work.
typedef struct zt_check {
    const char       *dir;
    const cJSON      *json;             // case.json
    zt_weights       *io;
    zt_device        *d;
    enum zt_precision precision;
    enum zt_kv_choice kv;
    double            limit;            // on rel_l2
    int               failed, unsupported;      // outputs
    bool              broken;           // the case itself cannot be read
} zt_check;

// Runs DIR: a case, or a model directory with a *-reference.safetensors. Prints "name rel_l2 limit ok|FAIL" for each
// output on stdout; returns the program's exit code.
int zt_check_run(const char *dir, enum zt_precision precision, enum zt_kv_choice kv, int threads);

// The kinds. What goes wrong is counted in c.
void zt_check_wan(zt_check *c);         // wan-dit, wan-causal
void zt_check_rollout(zt_check *c);
void zt_check_moe(zt_check *c);
void zt_check_sampler(zt_check *c);
void zt_check_tokens(zt_check *c);
void zt_check_text(zt_check *c);
void zt_check_vae_decode(zt_check *c);
void zt_check_vae_encode(zt_check *c);
void zt_check_taehv(zt_check *c);
void zt_check_mla(zt_check *c);
void zt_check_mamba(zt_check *c);
void zt_check_stream(zt_check *c);      // a model directory with its reference

// The tensor in a role of a pass, as floats (free() them); NULL, said and counted, when it is not there.
float *zt_check_in(zt_check *c, const cJSON *pass, const char *role, const zt_weight **w);
// Compares n values with the tensor in a role; counts and prints. A role that the pass does not have is passed over.
void   zt_check_out(zt_check *c, const cJSON *pass, const char *role, const float *y, int64_t n);
void   zt_check_ids(zt_check *c, const cJSON *pass, const char *role, const int32_t *y, int64_t n);
// A number of an object, or the value given when it has none of that name.
double zt_check_number(const cJSON *object, const char *name, double otherwise);
const char *zt_check_string(const cJSON *object, const char *name);     // "" when there is none
// [outer][inner][plane] to [inner][outer][plane]: files have channels first, streams go frame by frame.
void   zt_check_exchange(float *to, const float *from, int outer, int inner, size_t plane);
// Ends the program when there is no memory.
void  *zt_check_must(void *p);
// Says why the case cannot be run, and counts that.
void   zt_check_refuse(zt_check *c, const char *why);
// config.json of the case, as JSON (cJSON_Delete() it); NULL, said and counted, when it cannot be read.
cJSON *zt_check_config(zt_check *c);
// The passes of the case.
const cJSON *zt_check_passes(const zt_check *c);

#ifdef __cplusplus
}
#endif
