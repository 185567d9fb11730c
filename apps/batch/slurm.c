// SPDX-License-Identifier: Apache-2.0
// --submit slurm: an array job whose tasks render ranges of the manifest and come back after whatever happens to them.
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/batch/work.h"
#include "apps/exits.h"
#include "base/base.h"
#include "base/log.h"

#define TASKS   1000            // and less where the cluster says so
#define TOGETHER 8              // clips a task, at least: they are packed

// 'text', fit for a shell.
static void quote(FILE *f, const char *text)
{
    fputc('\'', f);
    for (; *text; text++)
        if (*text == '\'')
            fputs("'\\''", f);
        else
            fputc(*text, f);
    fputc('\'', f);
}

static void flag(FILE *f, const char *name, const char *value)
{
    if (!value)
        return;
    fprintf(f, " --%s ", name);
    quote(f, value);
}

static void number(FILE *f, const char *name, int64_t value)
{
    if (value)
        fprintf(f, " --%s %lld", name, (long long)value);
}

// What the cluster allows, where it can be asked.
static int most_tasks(void)
{
    int most = 0;
    char line[256];
    FILE *f = popen("scontrol show config 2> /dev/null", "r");
    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "MaxArraySize = %d", &most) == 1)
            break;
    if (f)
        pclose(f);
    return most > 1 ? ZT_MIN(most - 1, TASKS) : TASKS;
}

static void write_command(FILE *f, const zt_batch *b, const char *self, const char *manifest, const char *out)
{
    const zt_setup *s = &b->setup;
    quote(f, self);
    fputs(" -q", f);
    flag(f, "manifest", manifest);
    fputs(" --index \"$first-$last\"", f);
    flag(f, "out", out);
    flag(f, "model", s->path);
    flag(f, "device", s->device_name ? zt_device_names[s->device_name] : NULL);
    flag(f, "precision", s->precision_name ? zt_precision_names[s->precision_name] : NULL);
    flag(f, "kv", s->kv ? zt_kv_names[s->kv] : NULL);
    number(f, "threads", s->threads);
    number(f, "jobs", b->jobs);
    number(f, "chunk", b->chunk);
    fputs(" --resume &\n", f);
}

// The shell stays, so that it can ask for another go: clusters that do not requeue by exit code are the rule.
static void write_script(FILE *f, const zt_batch_work *w, int tasks, int each, const char *self, const char *manifest,
                         const char *out)
{
    fprintf(f, "#!/bin/sh\n"
               "#SBATCH --job-name=zoetrope --array=0-%d\n"
               "#SBATCH --requeue --open-mode=append --signal=B:TERM@60\n"
               "#SBATCH --ntasks=1\n"
               "first=$((%d + SLURM_ARRAY_TASK_ID * %d))\n"
               "last=$((first + %d))\n"
               "[ \"$last\" -le %d ] || last=%d\n",
            tasks - 1, w->first, each, each - 1, w->last, w->last);
    write_command(f, w->b, self, manifest, out);
    fputs("pid=$!\n"
          "trap 'kill -TERM \"$pid\" 2> /dev/null' TERM INT\n"
          "wait \"$pid\"; code=$?\n"
          "while kill -0 \"$pid\" 2> /dev/null; do wait \"$pid\"; code=$?; done\n"
          "if [ \"$code\" = 75 ] && [ \"${SLURM_RESTART_COUNT:-0}\" -lt 20 ]; then\n"
          "    scontrol requeue \"${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}\"\n"
          "fi\n"
          "exit \"$code\"\n", f);
}

static int submit(const zt_batch_work *w, int tasks, int each, const char *self, const char *manifest, const char *out)
{
    FILE *f = w->b->go ? popen("sbatch", "w") : stdout;
    if (!f) {
        zt_error("sbatch: %s", strerror(errno));
        return ZT_EXIT_UNAVAILABLE;
    }
    write_script(f, w, tasks, each, self, manifest, out);
    if (!w->b->go)
        return fflush(f) ? ZT_EXIT_NO_OUTPUT : ZT_EXIT_OK;
    if (pclose(f) == 0)
        return ZT_EXIT_OK;
    zt_error("sbatch took nothing: is this a node of a cluster (Debian: slurm-client)?");
    return ZT_EXIT_UNAVAILABLE;
}

int zt_batch_submit(zt_batch_work *w)
{
    char self[PATH_MAX], manifest[PATH_MAX], out[PATH_MAX];
    const int n = w->last - w->first + 1, most = most_tasks();
    const int64_t least = ZT_MAX((n + most - 1) / most, w->b->per_task ? 1 : TOGETHER);
    const int each = (int)ZT_MIN(ZT_MAX(w->b->per_task, least), n);
    if (mkdir(w->b->out, 0777) < 0 && errno != EEXIST) {
        zt_error("%s: %s", w->b->out, strerror(errno));
        return ZT_EXIT_NO_OUTPUT;
    }
    if (!realpath("/proc/self/exe", self) || !realpath(w->b->manifest, manifest) || !realpath(w->b->out, out)) {
        zt_error("%s: %s", w->b->out, strerror(errno));
        return ZT_EXIT_NO_OUTPUT;
    }
    return submit(w, (n + each - 1) / each, each, self, manifest, out);
}
