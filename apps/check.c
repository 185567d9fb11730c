// SPDX-License-Identifier: Apache-2.0
// Reads a parity case, runs it, compares.
#include "apps/check.h"

#include <errno.h>
#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/exits.h"
#include "base/base.h"
#include "base/log.h"

enum { CASE_MAX = 8 << 20 };

double zt_check_number(const cJSON *object, const char *name, double otherwise)
{
    const cJSON *const v = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNumber(v) ? v->valuedouble : otherwise;
}

const char *zt_check_string(const cJSON *object, const char *name)
{
    const char *const s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
    return s ? s : "";
}

const cJSON *zt_check_passes(const zt_check *c)
{
    return cJSON_GetObjectItemCaseSensitive(c->json, "passes");
}

float *zt_check_in(zt_check *c, const cJSON *pass, const char *role, const zt_weight **w)
{
    const char *const name = zt_check_string(cJSON_GetObjectItemCaseSensitive(pass, "in"), role);
    *w = zt_weights_find(c->io, name);
    float *const x = *w && (*w)->usable ? malloc((size_t)ZT_MAX((*w)->elements, 1) * sizeof(*x)) : NULL;
    if (!x) {
        zt_error("%s: no input '%s'", c->dir, role);
        c->broken = true;
        return NULL;
    }
    zt_weight_read(*w, 0, (*w)->elements, x);
    return x;
}

static const zt_weight *expected(zt_check *c, const cJSON *pass, const char *role, int64_t n)
{
    const char *const name = zt_check_string(cJSON_GetObjectItemCaseSensitive(pass, "out"), role);
    if (!name[0])
        return NULL;
    const zt_weight *const w = zt_weights_find(c->io, name);
    if (!w || !w->usable || w->elements != n) {
        zt_error("%s: output '%s' is not there or has another size", c->dir, name);
        c->broken = true;
        return NULL;
    }
    return w;
}

static void report(zt_check *c, const char *name, double rel, double limit)
{
    const bool ok = rel <= limit;               // false for NaN
    printf("%s %.3g %.3g %s\n", name, rel, limit, ok ? "ok" : "FAIL");
    c->failed += !ok;
}

void zt_check_out(zt_check *c, const cJSON *pass, const char *role, const float *y, int64_t n)
{
    const zt_weight *const w = expected(c, pass, role, n);
    double error = 0, norm = 0;
    for (int64_t i = 0; w && i < n; i++) {
        float e;
        zt_weight_read(w, i, 1, &e);
        error += ((double)y[i] - e) * ((double)y[i] - e);
        norm += (double)e * e;
    }
    if (w)
        report(c, w->name, norm > 0 ? sqrt(error / norm) : sqrt(error), c->limit);
}

void zt_check_ids(zt_check *c, const cJSON *pass, const char *role, const int32_t *y, int64_t n)
{
    const zt_weight *const w = expected(c, pass, role, n);
    int64_t wrong = 0;
    for (int64_t i = 0; w && i < n; i++) {
        int32_t e;
        memcpy(&e, (const char *)w->data + 4 * i, sizeof(e));
        wrong += e != y[i];
    }
    if (w)
        report(c, w->name, (double)wrong, 0);
}

void zt_check_exchange(float *to, const float *from, int outer, int inner, size_t plane)
{
    for (int i = 0; i < outer; i++) {
        for (int j = 0; j < inner; j++)
            memcpy(to + ((size_t)j * (size_t)outer + (size_t)i) * plane,
                   from + ((size_t)i * (size_t)inner + (size_t)j) * plane, plane * sizeof(float));
    }
}

void *zt_check_must(void *p)
{
    if (!p) {
        zt_error("not enough memory");
        exit(ZT_EXIT_UNAVAILABLE);
    }
    return p;
}

void zt_check_refuse(zt_check *c, const char *why)
{
    if (!c->broken)
        zt_error("%s: %s", c->dir, why);
    c->broken = true;
}

static char *read_text(const char *path)
{
    FILE *const f = fopen(path, "rbe");
    char *const text = f ? malloc(CASE_MAX + 1) : NULL;
    if (!text) {
        zt_error("%s: %s", path, strerror(errno));
        if (f)
            fclose(f);
        return NULL;
    }
    const size_t n = fread(text, 1, CASE_MAX, f);
    text[n] = 0;
    fclose(f);
    return text;
}

cJSON *zt_check_config(zt_check *c)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", c->dir, zt_check_string(c->json, "config"));
    char *const text = read_text(path);
    cJSON *const json = text ? cJSON_Parse(text) : NULL;
    if (!json)
        zt_check_refuse(c, "no usable configuration");
    free(text);
    return json;
}

static const struct kind {
    const char *name;
    void      (*run)(zt_check *c);
    bool        anywhere;           // on the device of ZOETROPE_DEVICE; the others run on the CPU
} kinds[] = {
    { "wan-dit", zt_check_wan, true },
    { "wan-causal", zt_check_wan, true },
    { "wan-rollout", zt_check_rollout, true },
    { "moe-ffn", zt_check_moe },
    { "sampler", zt_check_sampler },
    { "tokens", zt_check_tokens },
    { "umt5-encode", zt_check_text },
    { "wan-vae-decode", zt_check_vae_decode },
    { "wan-vae-encode", zt_check_vae_encode },
    { "taehv-decode", zt_check_taehv },
    { "mla", zt_check_mla },
    { "mamba2", zt_check_mamba },
};

// Single precision must meet the case's own limit. bf16 keeps 8 bits: 2^-9 a rounding, a few of them in each of two or
// three blocks; int8 another 1/254 of each row's largest value; int4 1/14 of the largest of each 64, 10 % of normal ones,
// in each of three matrices of an expert. An autoencoder rounds what goes into 32 convolutions in
// a row, whose random weights do not damp it: ten times what a few blocks show.
static double limit_of(const cJSON *json, enum zt_precision p)
{
    const double given = zt_check_number(cJSON_GetObjectItemCaseSensitive(json, "tolerance"), "rel_l2", 0);
    const bool deep = strcmp(zt_check_string(json, "kind"), "wan-vae-decode") == 0;
    return p == ZT_PRECISION_F32 ? given
        : fmax(given, p == ZT_PRECISION_INT4 && !deep ? 0.3 : p == ZT_PRECISION_BF16 && !deep ? 0.02 : 0.08);
}

static int run_on_device(zt_check *c, void (*kind)(zt_check *), bool anywhere, int threads)
{
    const int err = zt_device_open(&c->d, &(zt_device_params){ .device = anywhere ? NULL : "cpu", .threads = threads });
    if (err < 0)
        return err == -EINVAL ? ZT_EXIT_USAGE : ZT_EXIT_UNAVAILABLE;
    kind(c);
    if (zt_device_sync(c->d) < 0)
        c->broken = true;
    zt_device_close(&c->d);
    if (c->failed || c->broken)
        return ZT_EXIT_DATA;
    return c->unsupported ? ZT_EXIT_UNAVAILABLE : ZT_EXIT_OK;
}

static int run_case(zt_check *c, int threads)
{
    const char *const kind = zt_check_string(c->json, "kind");
    for (const struct kind *k = kinds; k < kinds + ZT_LEN(kinds); k++) {
        if (strcmp(k->name, kind) == 0)
            return run_on_device(c, k->run, k->anywhere, threads);
    }
    zt_error("%s: kind '%s' is not supported in this version", c->dir, kind);
    return ZT_EXIT_UNAVAILABLE;
}

// The reference of a model directory, in `path`.
static bool find_reference(const char *dir, char *path, size_t bytes)
{
    char pattern[4096];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%s/*-reference.safetensors", dir);
    if (glob(pattern, 0, NULL, &found) != 0)
        return false;
    const bool fits = snprintf(path, bytes, "%s", found.gl_pathv[0]) < (int)bytes;
    globfree(&found);
    return fits;
}

static int check_model(zt_check *c, const char *reference, int threads)
{
    // The reference is PyTorch in f32 with the de-quantised weights. f32: the same sums in another order, 2^-24 each,
    // through the steps of one frame and, by way of the cache, those before. bf16 and int8 as for the cases, where x0
    // is mostly the noise that went in; ten times what was seen. int4: 0.05 seen, three times that.
    c->limit = c->precision == ZT_PRECISION_F32 ? 1e-4 : c->precision == ZT_PRECISION_INT4 ? 0.15 : 0.05;
    const int err = zt_weights_open(&c->io, reference);
    const int code = err < 0 ? zt_exit_input(err) : run_on_device(c, zt_check_stream, true, threads);
    zt_weights_close(&c->io);
    return code;
}

int zt_check_run(const char *dir, enum zt_precision precision, enum zt_kv_choice kv, int threads)
{
    char path[4096];
    zt_check c = { .dir = dir, .kv = kv, .precision = precision == ZT_PRECISION_DEFAULT ? ZT_PRECISION_F32 : precision };
    snprintf(path, sizeof(path), "%s/case.json", dir);
    if (access(path, F_OK) < 0 && find_reference(dir, path, sizeof(path)))
        return check_model(&c, path, threads);
    char *const text = read_text(path);
    if (!text)
        return ZT_EXIT_NO_INPUT;
    cJSON *const json = cJSON_Parse(text);
    free(text);
    if (!json || !cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(json, "passes"))) {
        zt_error("%s: not a case", path);
        cJSON_Delete(json);
        return ZT_EXIT_DATA;
    }
    c.json = json;
    c.limit = limit_of(json, c.precision);
    snprintf(path, sizeof(path), "%s/io.safetensors", dir);
    const int err = zt_weights_open(&c.io, path);
    const int code = err < 0 ? zt_exit_input(err) : run_case(&c, threads);
    zt_weights_close(&c.io);
    cJSON_Delete(json);
    return code;
}
