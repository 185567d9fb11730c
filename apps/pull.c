// SPDX-License-Identifier: Apache-2.0
// zoetrope-model pull: what a repository holds, and its files, one after the other.
#include "apps/pull.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "apps/batch/sha256.h"
#include "apps/exits.h"
#include "apps/fetch.h"
#include "base/base.h"
#include "base/log.h"

enum { PATH_BYTES = 4096, URL_BYTES = 3 * PATH_BYTES, LIST_MAX = 16 << 20, TRIES = 5, WHY = 320 };

struct item {
    const char *path;           // in the repository, safe below a folder
    const char *sha256;         // 64 digits, or NULL: the hub names one for large files only
    int64_t     bytes;
    bool        have;           // under its final name, with its size
};

struct pull {
    const zt_pull_params *p;
    const char  *endpoint, *token;
    char         repo[256], revision[128], dir[PATH_BYTES / 2];  // revision: then the commit's number
    cJSON       *list;
    struct item *item;
    int          n;
    bool         show;
};

static volatile sig_atomic_t signalled;

static void on_signal(int number)
{
    signalled = number;
}

static int is_stopped(void *cookie)
{
    (void)cookie;
    return signalled != 0;
}

// ---- names ----

static bool plain_name(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.", s[i]))
            return false;
    return n > 0 && n <= 96 && s[0] != '.';
}

static bool read_repo(struct pull *t)
{
    const char *const repo = t->p->repo, *const at = strchr(repo, '@'), *const slash = strchr(repo, '/');
    const size_t n = at ? (size_t)(at - repo) : strlen(repo);
    if (!slash || (size_t)(slash - repo) >= n || !plain_name(repo, (size_t)(slash - repo))
        || !plain_name(slash + 1, n - (size_t)(slash - repo) - 1) || (at && !plain_name(at + 1, strlen(at + 1)))) {
        zt_error("'%.200s' is not OWNER/NAME or OWNER/NAME@REVISION", repo);
        return false;
    }
    snprintf(t->repo, sizeof(t->repo), "%.*s", (int)n, repo);
    snprintf(t->revision, sizeof(t->revision), "%s", at ? at + 1 : "main");
    const int m = snprintf(t->dir, sizeof(t->dir), "%s", t->p->dir ? t->p->dir : strchr(t->repo, '/') + 1);
    if (m < 1 || m >= PATH_BYTES / 2) {
        zt_error("the folder's name is empty or too long");
        return false;
    }
    return true;
}

static bool read_environment(struct pull *t)
{
    const char *const endpoint = getenv("HF_ENDPOINT"), *const token = getenv("HF_TOKEN");
    t->endpoint = endpoint && endpoint[0] ? endpoint : "https://huggingface.co";
    t->token = token && token[0] ? token : NULL;
    const bool https = strncmp(t->endpoint, "https://", 8) == 0, http = strncmp(t->endpoint, "http://", 7) == 0;
    if ((!https && !http) || strchr(t->endpoint, '@') || strlen(t->endpoint) > 512) {
        zt_error("HF_ENDPOINT is not an http or https address");
        return false;
    }
    static const char *const here[] = { "127.0.0.1", "localhost", "[::1]" };
    bool own = false;
    for (size_t i = 0; i < ZT_LEN(here) && http; i++) {
        const size_t n = strlen(here[i]);
        own |= strncmp(t->endpoint + 7, here[i], n) == 0 && strchr(":/", t->endpoint[7 + n]) != NULL;
    }
    if (t->token && http && !own) {
        zt_error("HF_TOKEN is not sent over plain http to another machine");
        return false;
    }
    return true;
}

// No way out of the folder, nothing hidden from the eye.
static bool safe_path(const char *path)
{
    if (!path[0] || strlen(path) > 1024 || strchr(path, '\\'))
        return false;
    for (const char *at = path;; at++) {
        const size_t n = strcspn(at, "/");
        if (n == 0 || (n == 1 && at[0] == '.') || (n == 2 && at[0] == '.' && at[1] == '.'))
            return false;
        for (size_t i = 0; i < n; i++)
            if ((unsigned char)at[i] < 32 || at[i] == 127)
                return false;
        at += n;
        if (!*at)
            return true;
    }
}

static void make_url(char *out, const struct pull *t, const char *path)
{
    int n = snprintf(out, URL_BYTES, "%s/%s/resolve/%s/", t->endpoint, t->repo, t->revision);
    for (; *path && n < URL_BYTES - 4; path++) {
        const bool plain = strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~/", *path) != NULL;
        n += snprintf(out + n, 4, plain ? "%c" : "%%%02X", (unsigned char)*path);
    }
}

static int exit_code(int err)
{
    switch (-err) {
    case EACCES: case ENOENT: return ZT_EXIT_NO_INPUT;
    case EAGAIN: case EINTR:  return ZT_EXIT_AGAIN;
    case ENOTSUP: case ENOMEM: return ZT_EXIT_UNAVAILABLE;
    case EPROTO: case EFBIG:  return ZT_EXIT_DATA;
    default:                  return ZT_EXIT_NO_OUTPUT;
    }
}

// In one line, with what can be done.
static int complain(const struct pull *t, const char *what, int err, const char *why)
{
    if (err == -EACCES)
        zt_error("%s: %s (%s)", what, why,
                 t->token ? "HF_TOKEN gives no access" : "the repository may be private or gated: set HF_TOKEN");
    else if (err == -EINTR)
        zt_error("%s: interrupted; run it again to go on", what);
    else if (err == -EAGAIN)
        zt_error("%s: %s; run it again to go on", what, why);
    else
        zt_error("%s: %s", what, why);
    return exit_code(err);
}

// ---- the list ----

struct text {
    char  *at;
    size_t n, room;
};

static int append(void *cookie, const void *data, size_t n)
{
    struct text *const s = cookie;
    if (s->n + n > LIST_MAX)
        return -EFBIG;
    if (s->n + n + 1 > s->room) {
        const size_t room = 2 * (s->n + n + 1);
        char *const p = realloc(s->at, room);
        if (!p)
            return -ENOMEM;
        s->at = p;
        s->room = room;
    }
    memcpy(s->at + s->n, data, n);
    s->n += n;
    return 0;
}

static const char *string_of(const cJSON *object, const char *key)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
}

static bool is_hex(const char *s, size_t n)
{
    return strlen(s) == n && strspn(s, "0123456789abcdef") == n;
}

// false: the entry makes no sense.
static bool read_item(const struct pull *t, const cJSON *entry, struct item *out)
{
    const cJSON *const size = cJSON_GetObjectItemCaseSensitive(entry, "size");
    const cJSON *const lfs = cJSON_GetObjectItemCaseSensitive(entry, "lfs");
    char name[PATH_BYTES];
    struct stat st;
    *out = (struct item){ .path = string_of(entry, "rfilename"), .sha256 = string_of(lfs, "sha256") };
    if (!out->path || !safe_path(out->path) || !cJSON_IsNumber(size) || !(size->valuedouble >= 0)
        || size->valuedouble > 1e15 || (out->sha256 && !is_hex(out->sha256, 64)) || (cJSON_IsObject(lfs) && !out->sha256))
        return false;
    out->bytes = (int64_t)size->valuedouble;
    snprintf(name, sizeof(name), "%s/%.1024s", t->dir, out->path);
    out->have = stat(name, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == out->bytes;
    return true;
}

static int read_items(struct pull *t)
{
    const cJSON *const all = cJSON_GetObjectItemCaseSensitive(t->list, "siblings"), *entry;
    const char *const commit = string_of(t->list, "sha");
    if (!commit || !is_hex(commit, 40) || !cJSON_IsArray(all)) {
        zt_error("%s: the hub's answer is not a list of files", t->repo);
        return ZT_EXIT_DATA;
    }
    snprintf(t->revision, sizeof(t->revision), "%s", commit);           // all files are of one state
    t->item = calloc((size_t)cJSON_GetArraySize(all) + 1, sizeof(*t->item));
    if (!t->item)
        return ZT_EXIT_UNAVAILABLE;
    cJSON_ArrayForEach(entry, all) {
        struct item i;
        if (!read_item(t, entry, &i)) {
            zt_error("%s: the hub lists a file without size, or with a bad name: '%.200s'", t->repo, i.path ? i.path : "");
            return ZT_EXIT_DATA;
        }
        if (!t->p->pattern || fnmatch(t->p->pattern, i.path, 0) == 0)
            t->item[t->n++] = i;
    }
    if (t->n == 0) {
        zt_error("%s: no file fits '%s'", t->repo, t->p->pattern ? t->p->pattern : "*");
        return ZT_EXIT_NO_INPUT;
    }
    return 0;
}

static int get_list(struct pull *t)
{
    char url[URL_BYTES], why[WHY] = "";
    struct text s = { 0 };
    snprintf(url, sizeof(url), "%s/api/models/%s/revision/%s?blobs=true", t->endpoint, t->repo, t->revision);
    const zt_fetch f = { .url = url, .token = t->token, .got = append, .stopped = is_stopped, .cookie = &s };
    const int err = zt_fetch_get(&f, why, sizeof(why));
    int code = err ? complain(t, t->repo, err, why) : 0;
    if (!code) {
        t->list = s.n ? cJSON_ParseWithLength(s.at, s.n) : NULL;
        code = read_items(t);
    }
    free(s.at);
    return code;
}

static void print_list(const struct pull *t)
{
    int64_t bytes = 0, left = 0;
    for (int i = 0; i < t->n; i++) {
        bytes += t->item[i].bytes;
        left += t->item[i].have ? 0 : t->item[i].bytes;
    }
    printf("{\"repo\": \"%s\", \"revision\": \"%s\", \"bytes\": %" PRId64 ", \"bytes_to_get\": %" PRId64 ", \"files\": [",
           t->repo, t->revision, bytes, left);
    for (int i = 0; i < t->n; i++) {
        const struct item *const e = &t->item[i];
        cJSON *const name = cJSON_CreateString(e->path);
        char *const quoted = name ? cJSON_PrintUnformatted(name) : NULL;
        printf("%s\n {\"path\": %s, \"bytes\": %" PRId64 ", \"sha256\": %s%s%s, \"have\": %s}", i ? "," : "", quoted ? quoted : "\"\"",
               e->bytes, e->sha256 ? "\"" : "", e->sha256 ? e->sha256 : "null", e->sha256 ? "\"" : "", e->have ? "true" : "false");
        cJSON_free(quoted);
        cJSON_Delete(name);
    }
    printf("]}\n");
}

// ---- a file ----

struct download {
    const struct pull *t;
    const struct item *e;
    int       fd;
    int64_t   at;               // bytes in the file, all hashed
    zt_sha256 hash;
    int       percent;          // shown
};

static void show(struct download *d)
{
    const int percent = d->e->bytes ? (int)(100 * (double)d->at / (double)d->e->bytes) : 100;
    if (d->t->show && percent != d->percent)
        fprintf(stderr, "\r%3d %% of %" PRId64 " MB  %.60s%s", percent, d->e->bytes / 1000000, d->e->path,
                percent == 100 ? "\n" : "");
    d->percent = percent;
}

static int store(void *cookie, const void *data, size_t n)
{
    struct download *const d = cookie;
    if ((int64_t)n > d->e->bytes - d->at)
        return -EFBIG;
    for (size_t done = 0; done < n;) {
        const ssize_t m = pwrite(d->fd, (const char *)data + done, n - done, d->at + (int64_t)done);
        if (m < 0 && errno != EINTR)
            return errno == EAGAIN ? -EIO : -errno;
        done += m > 0 ? (size_t)m : 0;
    }
    zt_sha256_add(&d->hash, data, n);
    d->at += (int64_t)n;
    show(d);
    return 0;
}

// Goes on behind what an earlier run left. 0 or -errno.
static int take_up(struct download *d)
{
    char block[1 << 16];
    struct stat st;
    zt_sha256_init(&d->hash);
    d->at = 0;
    if (fstat(d->fd, &st) < 0)
        return -errno;
    if (st.st_size > d->e->bytes)
        return ftruncate(d->fd, 0) < 0 ? -errno : 0;
    while (d->at < st.st_size && !signalled) {
        const ssize_t m = pread(d->fd, block, sizeof(block), d->at);
        if (m <= 0)
            return m < 0 ? -errno : -EIO;
        zt_sha256_add(&d->hash, block, (size_t)m);
        d->at += m;
    }
    return signalled ? -EINTR : 0;
}

static int start_over(struct download *d)
{
    if (ftruncate(d->fd, 0) < 0)
        return -errno;
    return take_up(d);
}

// Until all bytes are there: again where it broke off, as long as some come or TRIES times in vain.
static int transfer(struct download *d, char *why)
{
    char url[URL_BYTES];
    int err = take_up(d);
    make_url(url, d->t, d->e->path);
    for (int vain = 0; !err && d->at < d->e->bytes;) {
        const int64_t from = d->at;
        const zt_fetch f = { .url = url, .token = d->t->token, .from = from, .got = store, .stopped = is_stopped, .cookie = d };
        err = zt_fetch_get(&f, why, WHY);
        if (err == -ERANGE && from > 0) {
            err = start_over(d);
            vain++;
        } else if (!err && d->at < d->e->bytes) {
            snprintf(why, WHY, "ends after %" PRId64 " of %" PRId64 " bytes", d->at, d->e->bytes);
            err = -EAGAIN;
        }
        if (err != -EAGAIN)
            continue;
        vain = d->at > from ? 0 : vain + 1;
        if (vain >= TRIES || signalled)
            break;
        nanosleep(&(struct timespec){ .tv_sec = vain, .tv_nsec = 200000000 }, NULL);
        err = signalled ? -EINTR : 0;
    }
    return err;
}

// Are these the bytes? Else they are no use to anybody.
static int check_hash(struct download *d, char *why)
{
    char hex[65];
    zt_sha256_end(&d->hash, hex);
    if (!d->e->sha256 || strcmp(hex, d->e->sha256) == 0)
        return 0;
    snprintf(why, WHY, "its SHA-256 is %.12s..., not %.12s...: removed", hex, d->e->sha256);
    return -EPROTO;
}

static int make_folders(char *path)
{
    for (char *at = path + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = 0;
        const int err = mkdir(path, 0777) < 0 && errno != EEXIST ? -errno : 0;
        *at = '/';
        if (err)
            return err;
    }
    return 0;
}

static int get_file(struct pull *t, const struct item *e)
{
    char name[PATH_BYTES], part[PATH_BYTES + 8], why[WHY] = "";
    struct download d = { .t = t, .e = e, .fd = -1, .percent = -1 };
    snprintf(name, sizeof(name), "%s/%.1024s", t->dir, e->path);
    snprintf(part, sizeof(part), "%s.part", name);
    int err = access(name, F_OK) == 0 && !t->p->overwrite ? -EEXIST : make_folders(part);
    if (!err) {
        d.fd = open(part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
        err = d.fd < 0 ? -errno : 0;
    }
    if (!err && flock(d.fd, LOCK_EX | LOCK_NB) < 0) {
        snprintf(why, sizeof(why), "another process is getting it");
        err = -EAGAIN;
    } else if (!err) {
        err = transfer(&d, why);
        if (!err)
            err = check_hash(&d, why);
        if (err == -EPROTO || err == -EFBIG)
            unlink(part);
        if (err == -EFBIG)
            snprintf(why, sizeof(why), "longer than the %" PRId64 " bytes that the hub lists: removed", e->bytes);
    }
    if (!err && (fsync(d.fd) < 0 || rename(part, name) < 0))
        err = -errno;
    if (d.fd >= 0)
        close(d.fd);
    if (err == -EEXIST)
        snprintf(why, sizeof(why), "is there with another size; -y replaces it");
    if (err && t->show && d.percent >= 0 && d.percent < 100)
        fputc('\n', stderr);
    return err ? complain(t, name, err, why[0] ? why : strerror(-err)) : 0;
}

// Room for what is to come? A disk that is full after an hour helps nobody.
static int check_room(const struct pull *t)
{
    int64_t left = 0;
    char name[PATH_BYTES + 8];
    struct stat st;
    struct statvfs v;
    for (int i = 0; i < t->n; i++) {
        snprintf(name, sizeof(name), "%s/%.1024s.part", t->dir, t->item[i].path);
        left += t->item[i].have ? 0 : t->item[i].bytes - (stat(name, &st) == 0 ? ZT_MIN(st.st_size, t->item[i].bytes) : 0);
    }
    if (statvfs(t->dir, &v) < 0 || (double)v.f_bavail * (double)v.f_frsize >= (double)left)
        return 0;
    zt_error("%s: %" PRId64 " MB are to come, %.0f MB are free", t->dir, left / 1000000,
             (double)v.f_bavail * (double)v.f_frsize / 1e6);
    return ZT_EXIT_NO_OUTPUT;
}

static int get_files(struct pull *t)
{
    char dir[PATH_BYTES + 1];
    snprintf(dir, sizeof(dir), "%s/", t->dir);
    const int err = make_folders(dir);
    if (err) {
        zt_error("%s: %s", t->dir, strerror(-err));
        return ZT_EXIT_NO_OUTPUT;
    }
    int code = check_room(t);
    for (int i = 0; i < t->n && !code; i++)
        if (!t->item[i].have)
            code = get_file(t, &t->item[i]);
    if (!code)
        zt_info("%s: %d files of %s at %.12s", t->dir, t->n, t->repo, t->revision);
    return code;
}

int zt_pull(const zt_pull_params *p)
{
    struct pull t = { .p = p, .show = !p->quiet && isatty(STDERR_FILENO) };
    const struct sigaction a = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };      // the second one kills
    if (!read_repo(&t) || !read_environment(&t))
        return ZT_EXIT_USAGE;
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
    int code = get_list(&t);
    if (!code && p->dry_run)
        print_list(&t);
    else if (!code)
        code = get_files(&t);
    free(t.item);
    cJSON_Delete(t.list);
    return code;
}
