// SPDX-License-Identifier: Apache-2.0
// zoetrope-model: says what a model is, checks parity cases, converts weights, gets published ones.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "apps/check.h"
#include "apps/convert.h"
#include "apps/estimate.h"
#include "apps/exits.h"
#include "apps/options.h"
#include "apps/pull.h"
#include "base/base.h"
#include "diffusion/model.h"

static const char *const precisions[] = { "default", "f32", "bf16", "int8", "int4", NULL };
static const char *const kvs[] = { "default", "float", "int8", NULL };
static const char *const quants[] = { "int8", "int4", "bf16", "fp8", NULL };     // as enum zt_convert_to

// What is given on the command line.
static struct {
    int  precision, kv, quant;
    bool overwrite, dry_run;
    const char *dir;
} given;

static const zt_option options[] = {
    { "precision", 0, ZT_OPTION_CHOICE, &given.precision, "P",
      "f32, bf16, int8 or int4 (info: what the file has; check: f32)", .choices = precisions },
    { "kv", 0, ZT_OPTION_CHOICE, &given.kv, "K", "keys and values: float, int8 or default (as the model says)",
      .choices = kvs },
    { "quant", 0, ZT_OPTION_CHOICE, &given.quant, "Q", "convert to int8, int4, bf16 or fp8 (int8)", .choices = quants },
    { "dir", 0, ZT_OPTION_STRING, &given.dir, "D", "pull: the folder to write into (./NAME)" },
    { "dry-run", 0, ZT_OPTION_FLAG, &given.dry_run, NULL, "pull: only print what would be got" },
    { "yes", 'y', ZT_OPTION_FLAG, &given.overwrite, NULL, "write into an output folder that exists, over files of another size" },
    { NULL },
};

static const zt_program program = {
    .name = "zoetrope-model", .summary = "Says what a model is, checks parity cases, converts weights, gets published ones.",
    .usage = "info MODEL | check CASE_DIR | convert IN OUT | pull OWNER/NAME[@REVISION] [FILES]", .option = options, .arguments = 3,
    .commands = "info check convert pull",
};

// A string of the model's, which may hold anything.
static void print_string(const char *value)
{
    cJSON *const s = cJSON_CreateString(value);
    char *const text = s ? cJSON_PrintUnformatted(s) : NULL;
    fputs(text ? text : "\"\"", stdout);
    cJSON_free(text);
    cJSON_Delete(s);
}

static void print_info(const zt_model_info *i)
{
    fputs("{\"name\": ", stdout);
    print_string(i->name);
    printf(", \"precision\": \"%s\", \"kv\": \"%s\", \"parameters\": %" PRId64 ", \"weight_bytes\": %" PRId64
           ", \"file_bytes\": %" PRId64 ", \"state_bytes\": %" PRId64 ", \"hash\": \"%016" PRIx64 "\",\n",
           precisions[i->precision], i->kv == ZT_I8 ? "int8" : i->kv == ZT_BF16 ? "bf16" : "f32", i->parameters, i->weight_bytes, i->file_bytes,
           i->state_bytes, i->hash);
    printf(" \"width\": %d, \"height\": %d, \"fps\": %d, \"chunk_frames\": %d, \"steps\": %d, "
           "\"first_frame_steps\": %d,\n",
           i->w, i->h, i->fps, i->chunk_frames, i->steps, i->first_frame_steps);
    printf(" \"dim\": %d, \"heads\": %d, \"layers\": %d, \"experts\": %d, \"top_k\": %d, \"window_frames\": %d, "
           "\"sink_frames\": %d,\n \"controls\": [",
           i->dim, i->heads, i->layers, i->experts, i->top_k, i->window_frames, i->sink_frames);
    for (int c = 0; c < i->n_controls; c++) {
        fputs(c ? ", " : "", stdout);
        print_string(i->control[c]);
    }
    fputs("], \"default_prompt\": ", stdout);
    print_string(i->default_prompt);
}

// Of the family, or of our own additions to it.
static const char *architecture(const zt_model *m)
{
    const zt_config *const c = &m->c;
    return c->previous ? "zoetrope" : c->experts ? "wan-moe" : "wan";
}

// The time of a chunk is measured at 256x144 at most: a larger one would take minutes here and there.
static int print_cost(zt_model *m)
{
    const zt_model_info *const i = zt_model_get_info(m);
    const int w = i->w ? i->w : 832, h = i->h ? i->h : 480, mw = ZT_MIN(w, 256), mh = ZT_MIN(h, 144);
    zt_estimate e = { 0 };
    const int err = zt_estimate_chunk(m, mw, mh, false, &e);
    printf(",\n \"architecture\": \"%s\", \"cache_bytes\": %" PRId64 ", \"cache_size\": \"%dx%d\", "
           "\"ms_per_chunk\": %.1f, \"measured_size\": \"%dx%d\"}\n", architecture(m), zt_estimate_cache(m, w, h), w, h,
           e.chunk_ms, mw, mh);
    return err;
}

static int info(const char *path, const zt_common *common)
{
    zt_device *d = NULL;
    zt_model *m = NULL;
    int err = zt_device_open(&d, &(zt_device_params){ .threads = (int)common->threads });
    if (err < 0)
        return err == -EINVAL ? ZT_EXIT_USAGE : ZT_EXIT_UNAVAILABLE;
    err = zt_model_open_kv(&m, d, path, (enum zt_precision)given.precision, (enum zt_kv_choice)given.kv);
    if (!err) {
        print_info(zt_model_get_info(m));
        err = print_cost(m);
    }
    zt_model_close(&m);
    zt_device_close(&d);
    return zt_exit_input(err);
}

int main(int argc, char **argv)
{
    zt_common common = { 0 };
    const char *argument[4] = { 0 };
    const int code = zt_options_parse(&program, argc, argv, &common, argument);
    if (code >= 0)
        return code;
    const char *const command = argument[0] ? argument[0] : "";
    const int n = !argument[0] ? 0 : !argument[1] ? 1 : !argument[2] ? 2 : 3;
    if (n == 2 && strcmp(command, "info") == 0)
        return info(argument[1], &common);
    if (n == 2 && strcmp(command, "check") == 0)
        return zt_check_run(argument[1], (enum zt_precision)given.precision, (enum zt_kv_choice)given.kv,
                            (int)common.threads);
    if (n == 3 && strcmp(command, "convert") == 0)
        return zt_convert(argument[1], argument[2], (enum zt_convert_to)given.quant, given.overwrite, common.quiet);
    if ((n == 2 || n == 3) && strcmp(command, "pull") == 0)
        return zt_pull(&(zt_pull_params){ .repo = argument[1], .pattern = argument[2], .dir = given.dir, .dry_run = given.dry_run,
                                          .overwrite = given.overwrite, .quiet = common.quiet });
    return zt_options_misuse(&program, "wants info MODEL, check CASE_DIR, convert IN OUT or pull OWNER/NAME [FILES]");
}
