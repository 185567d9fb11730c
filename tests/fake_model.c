// SPDX-License-Identifier: Apache-2.0
// zt_model_* and zt_state_* that sleep, draw one flat grey per frame and take notes.
#include "tests/fake_model.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

struct fake_model_control fake;

struct zt_model {
    zt_device    *d;
    zt_model_info info;
    zt_state     *sliced;
    int           blocks;
};

struct zt_state {
    zt_model *m;
    uint64_t  frames, seed;
    char      prompt[64];
    float     control[ZT_MAX_CONTROLS];
    int       committed, began;
};

zt_model *fake_model_open(zt_device *d)
{
    zt_model *m = calloc(1, sizeof(*m));
    m->d = d;
    m->info = (zt_model_info){ .name = "fake", .w = 64, .h = 32, .fps = 25, .unit = 16, .chunk_frames = 1, .pictures = 1, .first_pictures = 1, .steps = 2,
                               .first_frame_steps = 4, .layers = 3, .n_controls = 2, .control = { "yaw", "pitch" },
                               .default_prompt = "mountains", .part = { 0.25f, 0.25f, 0.25f, 0.25f } };
    return m;
}

void zt_model_close(zt_model **m)
{
    free(*m);
    *m = NULL;
}

const zt_model_info *zt_model_get_info(const zt_model *m)
{
    return &m->info;
}

int zt_model_control(const zt_model *m, const char *name)
{
    for (int i = 0; i < m->info.n_controls; i++)
        if (!strcmp(m->info.control[i], name))
            return i;
    return -1;
}

int zt_state_start(zt_state *s)
{
    (void)s;
    return 0;
}

int zt_state_allocate(zt_state **out, zt_model *m, int w, int h, uint64_t seed)
{
    if (fake.fail_state)
        return -ENOMEM;
    if (w % 16 || h % 16)
        return -EINVAL;
    zt_sleep_until(zt_now() + fake.memory);
    *out = calloc(1, sizeof(**out));
    (*out)->m = m;
    (*out)->seed = seed;
    (*out)->committed = 1;
    return 0;
}

void zt_state_destroy(zt_state **s)
{
    free(*s);
    *s = NULL;
}

int zt_state_prompt(zt_state *s, const char *text, char *ignored, size_t bytes)
{
    const int known = text && (strstr(text, "mountains") || strstr(text, "sea"));
    snprintf(s->prompt, sizeof(s->prompt), "%s", known ? text : s->m->info.default_prompt);
    if (bytes)
        snprintf(ignored, bytes, "%s", !text || known ? "" : text);
    return known;
}

void zt_state_control(zt_state *s, int i, float value)
{
    s->control[i] = value;
}

void zt_state_window(zt_state *s, int frames)
{
    (void)s, (void)frames;
}

void zt_state_top_k(zt_state *s, int k)
{
    (void)s, (void)k;
}

uint64_t zt_state_frame(const zt_state *s)
{
    return s->frames;
}

uint64_t zt_state_begin(zt_state *s)
{
    assert(s->frames < FAKE_FRAMES);
    strcpy(fake.frame[s->frames].prompt, s->prompt);
    memcpy(fake.frame[s->frames].control, s->control, sizeof(s->control));
    s->began = 1;
    return s->frames++;
}

// sigma = u: t[i] = 1000 (1 - i / n).
void zt_model_steps(const zt_model *m, int n, float *t)
{
    zt_model_steps_from(m, 1000, n, t);
}

void zt_model_steps_from(const zt_model *m, float t_now, int n, float *t)
{
    (void)m;
    for (int i = 0; i < n; i++)
        t[i] = t_now * (float)(n - i) / (float)n;
}

static int end_pass(const zt_model *m, const zt_job *job, int n)
{
    if (++fake.passes == fake.fail_pass)
        return -ENOMEM;
    for (int i = 0; i < n; i++) {
        zt_state *s = job[i].s;
        assert(s->m == m);
        // The contract: what was begun last needs the frame before in the cache.
        assert(job[i].pass == ZT_COMMIT    ? !s->committed && !s->began
               : job[i].pass == ZT_DENOISE ? s->committed
                                           : !s->committed);
        fake.commits += job[i].pass != ZT_DENOISE;
        fake.merged += job[i].pass == ZT_COMMIT_DENOISE;
        s->committed = 1;
        if (job[i].pass == ZT_COMMIT)
            continue;
        const uint64_t k = s->frames - 1;
        if (fake.frame[k].steps < ZT_MAX_STEPS)         // several sessions write into the same notes
            fake.frame[k].t[fake.frame[k].steps++] = job[i].t;
        fake.frame[k].t_next = job[i].t_next;
    }
    return 0;
}

int zt_model_pass(zt_model *m, const zt_job *job, int n, int from, int to)
{
    assert(from == 0 && to == m->info.layers);
    fake.most_jobs = n > fake.most_jobs ? n : fake.most_jobs;
    zt_sleep_until(zt_now() + fake.pass);
    return end_pass(m, job, n);
}

// A whole number of slices, one pass at a time.
int zt_model_slice(zt_model *m, const zt_job *job, int n, int groups, int from, int to)
{
    const int units = m->info.layers * ZT_PARTS * groups;
    assert(from == 0 || (job[0].s == m->sliced && from == m->blocks));
    m->sliced = job[0].s;
    m->blocks = to;
    fake.slices++;
    zt_sleep_until(zt_now() + fake.pass * (to - from) / units);
    return to == units ? end_pass(m, job, n) : 0;
}

size_t zt_state_save(zt_state *s, void *out)
{
    (void)s, (void)out;
    return 0;
}

int zt_state_restore(zt_state *s, const void *data, size_t bytes)
{
    (void)s, (void)data, (void)bytes;
    return -EINVAL;
}

int zt_state_saved(const zt_model *m, const void *data, size_t bytes, uint64_t *begun)
{
    (void)m, (void)data, (void)bytes, (void)begun;
    return -EINVAL;
}

int zt_state_image(zt_state *s, const float *rgb)
{
    (void)s, (void)rgb;
    return 0;
}

int zt_state_pictures(const zt_state *s)
{
    (void)s;
    return 1;
}

void zt_state_decode(zt_state *s, zt_tensor rgb)
{
    fake.decodes++;
    fake.frame[s->frames - 1].shown_after = fake.frame[s->frames - 1].steps;
    for (int i = 0; i < 3 * rgb.n[2] * rgb.n[3]; i++)
        zt_f32(rgb)[i] = (float)((s->frames - 1) % 8) / 4 - 1;
    s->committed = s->began = 0;
    zt_sleep_until(zt_now() + fake.decode);
}
