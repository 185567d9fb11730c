// SPDX-License-Identifier: Apache-2.0
// Prints counters and histograms for Prometheus.
#include "apps/serve/metrics_text.h"

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"

static void head(FILE *f, const char *name, const char *type, const char *help)
{
    fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

// `label` is empty or ends in a comma.
static void histogram(FILE *f, const char *name, const char *label, const zt_histogram *h)
{
    uint64_t below = 0;
    for (int i = 0; i < ZT_BUCKETS; i++) {
        below += h->bucket[i];
        if (i < ZT_BUCKETS - 1)
            fprintf(f, "%s_bucket{%sle=\"%g\"} %llu\n", name, label, (double)zt_bucket_bound[i] / (double)ZT_S,
                    (unsigned long long)below);
        else
            fprintf(f, "%s_bucket{%sle=\"+Inf\"} %llu\n", name, label, (unsigned long long)below);
    }
    char braces[64] = "";
    if (*label)
        snprintf(braces, sizeof(braces), "{%.*s}", (int)strlen(label) - 1, label);
    fprintf(f, "%s_sum%s %.9f\n%s_count%s %llu\n", name, braces, (double)h->sum / (double)ZT_S, name, braces,
            (unsigned long long)h->count);
}

static void stages(FILE *f, const zt_metrics *m)
{
    head(f, "zoetrope_stage_duration_seconds", "histogram", "Time spent on one frame in each stage.");
    for (int i = 0; i < ZT_STAGES; i++) {
        char label[64];
        snprintf(label, sizeof(label), "stage=\"%s\",", zt_stage_name[i]);
        histogram(f, "zoetrope_stage_duration_seconds", label, &m->stage[i]);
    }
}

static void latencies(FILE *f, const zt_metrics *m)
{
    const struct { const char *name, *help; const zt_histogram *h; } list[] = {
        { "zoetrope_frame_latency_seconds",
          "From reading prompt and controls to handing the packet to the transports.",
          &m->latency },
        { "zoetrope_prompt_to_frame_seconds",
          "From a new prompt to the packet of the first frame that used it.",
          &m->prompt_to_frame },
        { "zoetrope_slice_wait_seconds",
          "How long live work that was ready waited for an offline slice.",
          &m->slice_wait },
        { "zoetrope_time_to_first_frame_seconds",
          "From a session's creation to the packet of its first frame.",
          &m->first_frame },
    };
    for (size_t i = 0; i < ZT_LEN(list); i++) {
        head(f, list[i].name, "histogram", list[i].help);
        histogram(f, list[i].name, "", list[i].h);
    }
}

// How good the predictions are that deadlines rest on: error / predicted is the mean error of a pass.
static void predictions(FILE *f, const zt_metrics *m)
{
    head(f, "zoetrope_cost_passes_total", "counter", "Passes whose duration was predicted.");
    fprintf(f, "zoetrope_cost_passes_total %llu\n", (unsigned long long)m->cost_passes);
    head(f, "zoetrope_cost_over_p99_total", "counter", "Passes longer than 99 of 100 were predicted to be.");
    fprintf(f, "zoetrope_cost_over_p99_total %llu\n", (unsigned long long)m->cost_over);
    head(f, "zoetrope_cost_predicted_seconds_total", "counter", "Duration of passes as predicted, by the mean.");
    fprintf(f, "zoetrope_cost_predicted_seconds_total %.9f\n", (double)m->cost_predicted / (double)ZT_S);
    head(f, "zoetrope_cost_error_seconds_total", "counter", "How far off those predictions were, without signs.");
    fprintf(f, "zoetrope_cost_error_seconds_total %.9f\n", (double)m->cost_error / (double)ZT_S);
}

static void engine(FILE *f, const zt_metrics *m)
{
    head(f, "zoetrope_engine_seconds_total", "counter", "What the engine's thread spent its time on.");
    for (int i = 0; i < ZT_BUSY; i++)
        fprintf(f, "zoetrope_engine_seconds_total{work=\"%s\"} %.6f\n", zt_busy_name[i],
                (double)m->busy[i] / (double)ZT_S);
}

static void clips(FILE *f, const zt_metrics_text *t)
{
    if (!t->takes_clips)
        return;
    head(f, "zoetrope_clips", "gauge", "Clips that were asked for over HTTP, by what has become of them.");
    for (int i = 0; i < ZT_CLIP_STATES; i++)
        fprintf(f, "zoetrope_clips{state=\"%s\"} %d\n", zt_clip_state_name[i], t->clips[i]);
}

static int open_files(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n > 3 ? n - 3 : 0;       // without ".", ".." and its own
}

// CPU seconds, threads and resident bytes of this process.
static void process(FILE *f)
{
    unsigned long user = 0, system = 0;
    long threads = 0;
    long long pages = 0;
    FILE *stat = fopen("/proc/self/stat", "r");
    if (stat) {
        char line[1024];
        const char *after = fgets(line, sizeof(line), stat) ? strrchr(line, ')') : NULL;
        if (!after || sscanf(after + 2,
                             "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %ld %*d %*u %*u %lld",
                             &user, &system, &threads, &pages) != 4)
            user = system = 0, threads = 0, pages = 0;
        fclose(stat);
    }
    head(f, "process_cpu_seconds_total", "counter", "CPU time used.");
    fprintf(f, "process_cpu_seconds_total %.2f\n", (double)(user + system) / (double)sysconf(_SC_CLK_TCK));
    head(f, "process_resident_memory_bytes", "gauge", "Memory in use.");
    fprintf(f, "process_resident_memory_bytes %lld\n", pages * sysconf(_SC_PAGESIZE));
    head(f, "process_open_fds", "gauge", "Open file descriptors.");
    fprintf(f, "process_open_fds %d\n", open_files());
    head(f, "process_threads", "gauge", "Threads.");
    fprintf(f, "process_threads %ld\n", threads);
}

char *zt_metrics_print(const zt_metrics_text *t, size_t *bytes)
{
    char *text = NULL;
    FILE *f = open_memstream(&text, bytes);
    if (!f)
        return NULL;
    const zt_metrics *m = &t->metrics;
    head(f, "zoetrope_build_info", "gauge", "Version and backend, always 1.");
    fprintf(f, "zoetrope_build_info{version=\"%s\",backend=\"%s\"} 1\n", ZT_VERSION, t->backend);
    head(f, "zoetrope_frames_total", "counter", "Display slots by outcome.");
    for (int i = 0; i < ZT_OUTCOMES; i++)
        fprintf(f, "zoetrope_frames_total{outcome=\"%s\"} %llu\n", zt_outcome_name[i],
                (unsigned long long)m->outcome[i]);
    stages(f, m);
    latencies(f, m);
    head(f, "zoetrope_sessions", "gauge", "Sessions that are open.");
    fprintf(f, "zoetrope_sessions %d\n", m->sessions);
    head(f, "zoetrope_session_rejections_total", "counter", "Sessions that were refused.");
    for (int i = 1; i < ZT_REFUSALS; i++)
        fprintf(f, "zoetrope_session_rejections_total{reason=\"%s\"} %llu\n", zt_refusal_name[i],
                (unsigned long long)(m->refused[i] + (i == ZT_REFUSED_SESSIONS ? t->rejected : 0)));
    head(f, "zoetrope_viewers", "gauge", "Viewers that are playing.");
    fprintf(f, "zoetrope_viewers %d\n", t->viewers);
    head(f, "zoetrope_quality_changes_total", "counter", "Rungs of the quality ladder given up or taken back.");
    for (int i = 0; i < ZT_CHANGES; i++)
        fprintf(f, "zoetrope_quality_changes_total{reason=\"%s\"} %llu\n", zt_change_name[i],
                (unsigned long long)m->changes[i]);
    predictions(f, m);
    engine(f, m);
    clips(f, t);
    process(f);
    const int failed = ferror(f);
    if (fclose(f) || failed) {
        free(text);
        return NULL;
    }
    return text;
}
