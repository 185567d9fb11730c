// SPDX-License-Identifier: Apache-2.0
// The log: formats one line, cleans it, writes it in one call so that threads' lines do not mix.
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/base.h"

static const char *const level_name[] = { "error", "warn", "info", "debug" };

// The callback: the one global of the library.
static struct {
    zt_log_fn *fn;
    void      *cookie;
    atomic_int json;
    atomic_int level;           // 0: not decided yet; else a level + 1
} sink;

static int level_wanted(void)
{
    int level = atomic_load_explicit(&sink.level, memory_order_relaxed);
    if (level)
        return level - 1;

    level = ZT_LOG_WARN;
    const char *name = getenv("ZOETROPE_LOG");
    for (size_t i = 0; name && i < ZT_LEN(level_name); i++)
        if (!strcmp(name, level_name[i]))
            level = (int)i;
    atomic_store_explicit(&sink.level, level + 1, memory_order_relaxed);
    return level;
}

void zt_log_set(zt_log_fn *fn, void *cookie)
{
    sink.fn = fn;
    sink.cookie = cookie;
}

void zt_log_level(enum zt_level level)
{
    atomic_store_explicit(&sink.level, (int)level + 1, memory_order_relaxed);
}

void zt_log_json(int on)
{
    sink.json = on;
}

// Leaves valid UTF-8 on one line: controls become spaces, broken bytes '?'.
static void clean(char *line)
{
    for (char *s = line; *s;) {
        const int n = zt_utf8_length(s, 4);
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            *s = ' ';
        else if (!n)
            *s = '?';
        s += n ? n : 1;
    }
}

static void write_json(enum zt_level level, const char *line)
{
    char text[2 * 1001], out[sizeof(text) + 100];
    size_t n = 0;
    for (const char *s = line; *s && n < sizeof(text) - 2; s++) {
        if (*s == '"' || *s == '\\')
            text[n++] = '\\';
        text[n++] = *s;
    }
    text[n] = '\0';

    struct timespec now;
    struct tm tm;
    char when[32];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out, sizeof(out), "{\"level\": \"%s\", \"message\": \"%s\", \"time\": \"%s.%03ldZ\"}\n", level_name[level],
             text, when, now.tv_nsec / 1000000);
    fputs(out, stderr);
}

static void write_text(const char *line)
{
    char out[1001 + 16];
    snprintf(out, sizeof(out), "zoetrope: %s\n", line);
    fputs(out, stderr);
}

void zt_log_write(enum zt_level level, const char *line)
{
    if (sink.json)
        write_json(level, line);
    else
        write_text(line);
}

void zt_log(enum zt_level level, const char *fmt, ...)
{
    if ((int)level > level_wanted())
        return;

    const int saved = errno;
    char line[1001];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    clean(line);

    if (sink.fn)
        sink.fn(sink.cookie, level, line);
    else
        zt_log_write(level, line);
    errno = saved;
}
