// SPDX-License-Identifier: Apache-2.0
// What the tests of stream/ share: a folder of their own, pictures that carry their number, and a way to read it back.
#pragma once

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "stream/stream.h"
#include "tests/pictures.h"

#define W   128
#define H   96
#define FPS 24

// The folder of this run, removed at its end, and what the log said.
static char folder[64];
static int  errors;

// A name in the folder; good for the next 32 calls.
static inline const char *path(const char *name)
{
    static char names[32][128];
    static int n;
    char *at = names[n++ % 32];
    snprintf(at, sizeof(names[0]), "%s/%s", folder, name);
    return at;
}

static inline bool exists(const char *name)
{
    return access(path(name), F_OK) == 0;
}

static inline zt_stream_params params(const char *url)
{
    return (zt_stream_params){ .url = url, .w = W, .h = H, .fps = FPS };
}

static inline zt_frame *picture(zt_frame_pool *pool, int k)
{
    zt_frame *f;
    while (!(f = zt_frame_get(pool)))
        zt_sleep_until(zt_now() + ZT_MS);
    picture_draw(f, k, FPS);
    f->due = 3 * k;
    f->sampled = 5 * k;
    return f;
}

static inline int push(zt_stream *s, zt_frame_pool *pool, int k, int64_t until)
{
    zt_frame *f = picture(pool, k);
    const int err = zt_stream_push(s, f, until);
    zt_frame_unref(&f);
    return err;
}

static inline zt_frame_pool *make_pool(void)
{
    zt_frame_pool *pool;
    assert_int_equal(zt_frame_pool_create(&pool, W, H, 16), 0);
    return pool;
}

// Streams n pictures. The first error of push or finish.
static inline int stream_all(const zt_stream_params *p, int n)
{
    zt_stream *s;
    int err = zt_stream_open(&s, p);
    if (err < 0)
        return err;
    zt_frame_pool *pool = make_pool();
    for (int k = 0; k < n && !err; k++)
        err = push(s, pool, k, INT64_MAX);
    const int finish = zt_stream_finish(s);
    zt_stream_close(&s);
    assert_null(s);
    zt_frame_pool_destroy(&pool);
    return err ? err : finish;
}

static inline void ask(char *out, int bytes, const char *fmt, const char *file)
{
    char command[512];
    snprintf(command, sizeof(command), fmt, file);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    const size_t n = fread(out, 1, (size_t)bytes - 1, f);
    out[n] = '\0';
    pclose(f);
}

// False in a build without libavcodec.
static inline bool can_encode(void)
{
    const zt_stream_params p = params("null:");
    zt_stream *s = NULL;
    const int err = zt_stream_open(&s, &p);
    zt_stream_close(&s);
    return err != -ENOSYS;
}

static inline void need_ffmpeg(void)
{
    if (!can_encode() || system("command -v ffprobe ffmpeg > /dev/null") != 0)
        skip();
}

// Decodes a file and reads the numbers drawn into its pictures.
static inline void assert_pictures(const char *file, int w, int h, int n)
{
    char command[512];
    uint8_t *luma = malloc((size_t)w * (size_t)h);
    snprintf(command, sizeof(command), "ffmpeg -v error -i '%s' -fps_mode passthrough -f rawvideo -pix_fmt yuv420p - | "
             "head -c 100000000", file);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    int k = 0;
    while (fread(luma, 1, (size_t)w * (size_t)h, f) == (size_t)w * (size_t)h) {
        assert_int_equal(picture_number(luma, w, w), k++);
        for (int rest = w * h / 2; rest > 0; rest--)
            fgetc(f);
    }
    pclose(f);
    free(luma);
    assert_int_equal(k, n);
}

static inline void count_errors(void *cookie, enum zt_level level, const char *line)
{
    errors += level == ZT_LOG_ERROR;
}

static inline int make_folder(void **state)
{
    strcpy(folder, "/tmp/zt-stream-XXXXXX");
    zt_log_set(count_errors, NULL);
    return mkdtemp(folder) ? 0 : -1;
}

static inline int remove_folder(void **state)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    return system(command);
}
