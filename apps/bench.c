// SPDX-License-Identifier: Apache-2.0
// zoetrope-bench: what this machine does, against what it could.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "apps/bench.h"
#include "apps/exits.h"
#include "base/base.h"
#include "base/clock.h"
#include "diffusion/model.h"

int zt_samples_create(zt_samples *s, int room)
{
    *s = (zt_samples){ .ns = zt_alloc((size_t)room * sizeof(*s->ns)) };
    s->room = s->ns ? room : 0;
    return s->ns ? 0 : -ENOMEM;
}

void zt_samples_finish(zt_samples *s)
{
    zt_free(s->ns);
    *s = (zt_samples){ 0 };
}

void zt_samples_add(zt_samples *s, int64_t ns)
{
    if (s->n < s->room)
        s->ns[s->n++] = ns;
}

static int compare(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int64_t zt_samples_quantile(zt_samples *s, double q)
{
    if (!s->n)
        return 0;
    qsort(s->ns, (size_t)s->n, sizeof(*s->ns), compare);
    return s->ns[ZT_MIN((int)(q * s->n), s->n - 1)];
}

// When this process was started, on the clock of zt_now(); to a hundredth of a second.
static int64_t exec_time(void)
{
    char line[1024];
    unsigned long long ticks = 0;
    struct timespec boot;
    const int64_t now = zt_now();
    FILE *f = fopen("/proc/self/stat", "r");
    const char *after = f && fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
    if (f)
        fclose(f);
    if (!after || sscanf(after + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
                         &ticks) != 1)
        return now;
    clock_gettime(CLOCK_BOOTTIME, &boot);
    const int64_t age =
        (int64_t)boot.tv_sec * ZT_S + boot.tv_nsec - (int64_t)(ticks * (ZT_S / (uint64_t)sysconf(_SC_CLK_TCK)));
    return age >= 0 && age < 10 * ZT_S ? now - age : now;
}

static const struct { const char *name; int (*run)(zt_bench *b); } benches[] = {
    { "kernels", zt_bench_kernels }, { "step", zt_bench_step }, { "stream", zt_bench_stream },
    { "sched", zt_bench_sched }, { "ladder", zt_bench_ladder },
};

int main(int argc, char **argv)
{
    static zt_bench b = { .seconds = 10, .sessions = 1, .steps = 2 };
    const char *argument[2];
    const zt_option option[] = {
        { "model", 'm', ZT_OPTION_STRING, &b.setup.path, "DIR", "model directory (the shipped model)" },
        { "prompt", 'p', ZT_OPTION_STRING, &b.prompt, "TEXT", "what to show (the model's default)" },
        { "json", 0, ZT_OPTION_FLAG, &b.json, NULL, "one JSON object (kernels, ladder: one a line)" },
        { "op", 0, ZT_OPTION_STRING, &b.op, "NAME", "kernels: this operation only" },
        { "dtype", 0, ZT_OPTION_STRING, &b.dtype, "NAME", "kernels: f32, bf16, w8a8 or w4a8 only" },
        { "seconds", 0, ZT_OPTION_INT, &b.seconds, "N", "to measure (10; kernels: not used)", 1, 86400 },
        { "sessions", 0, ZT_OPTION_INT, &b.sessions, "N", "step: streams in one pass; stream, sched: live sessions (1)", 1, ZT_MAX_JOBS },
        { "clips", 0, ZT_OPTION_INT, &b.clips, "N", "stream, sched: clips made in the slack beside them (0)", 0, 8 },
        { "clip-model", 0, ZT_OPTION_STRING, &b.clip_path, "DIR", "stream: the clips' model (the sessions')" },
        { "steps", 0, ZT_OPTION_INT, &b.steps, "N", "stream, sched, ladder: denoising steps per frame (2)", 1, ZT_MAX_STEPS },
        { "steps-min", 0, ZT_OPTION_INT, &b.steps_min, "N", "stream, sched: and under load (1)", 1, ZT_MAX_STEPS },
        { "fps", 'r', ZT_OPTION_INT, &b.fps, "N", "stream: pace it at so many frames per second (as fast as it goes); sched (24)", 1, 60 },
        { "budget-ms", 0, ZT_OPTION_INT, &b.budget_ms, "N", "stream, sched: from reading the controls to the packet (two frames' time)", 1, 60000 },
        { "admission", 0, ZT_OPTION_FLAG, &b.admission, NULL, "stream, sched: refuse sessions that would not be served on time" },
        { "keep-rate", 0, ZT_OPTION_FLAG, &b.keep_rate, NULL, "stream, sched: never halve the frame rate" },
        { "prompts", 0, ZT_OPTION_INT, &b.prompts, "MS", "stream: a new prompt so often (never)", 1, 60000 },
        { "realtime", 0, ZT_OPTION_FLAG, &b.setup.realtime, NULL, "step, stream, ladder: run before everything else, if that is allowed (SCHED_RR)" },
        { "probe", 0, ZT_OPTION_FLAG, &b.probe, NULL, "stream: list misses, and whether the machine stood still then" },
        { "truth", 0, ZT_OPTION_STRING, &b.truth, "FILE", "ladder: true frames to judge pictures by (doc/deadlines.md)" },
        { "log", 0, ZT_OPTION_STRING, &b.log, "FILE", "stream: write the first session down, for zoetrope-render --replay (none)" },
        { "size", 0, ZT_OPTION_SIZE, &b.size, "WxH", "stream: of the packets (twice the model's own)", 16, 8192 },
        { "bitrate", 0, ZT_OPTION_RATE, &b.bitrate, "R", "stream: bits per second (2M)", 10000, 1000000000 },
        { "seed", 0, ZT_OPTION_SEED, &b.seed, "N", "same seed, same frames (0)" },
        { "device", 0, ZT_OPTION_CHOICE, &b.setup.device_name, "D", "cpu, cuda or auto (auto)", 0, 0, zt_device_names },
        { "precision", 0, ZT_OPTION_CHOICE, &b.setup.precision_name, "P", "f32, bf16, int8 or int4 (as the model is stored)", 0, 0, zt_precision_names },
        { "kv", 0, ZT_OPTION_CHOICE, &b.setup.kv, "K", "keys and values: float, int8 or default (as the model says)", 0, 0,
          zt_kv_names },
        { 0 },
    };
    const zt_program program = { "zoetrope-bench",
                                 "Measures kernels, one step, the whole stream, the scheduler alone, or the quality ladder.",
                                 "kernels|step|stream|sched|ladder [OPTIONS]", option, 1, "kernels step stream sched ladder" };
    b.started = exec_time();
    const int code = zt_options_parse(&program, argc, argv, &b.common, argument);
    if (code >= 0)
        return code;
    b.setup.threads = b.common.threads;
    if (b.prompt && zt_prompt_check(b.prompt) < 0)
        return ZT_EXIT_USAGE;
    if (b.size.a % 2 || b.size.b % 2)
        return zt_options_misuse(&program, "--size: width and height must be even");
    for (size_t i = 0; argument[0] && i < ZT_LEN(benches); i++) {
        if (strcmp(argument[0], benches[i].name))
            continue;
        const int result = benches[i].run(&b);
        zt_setup_close(&b.setup);
        return result;
    }
    if (argument[0])
        return zt_options_misuse(&program, "\"%.60s\" is not in this version", argument[0]);
    return zt_options_misuse(&program, "what to measure is missing: kernels, step, stream, sched or ladder");
}
