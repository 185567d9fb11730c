// SPDX-License-Identifier: Apache-2.0
// Where the files of a model lie: our own directories, those of Wan's publishers, those of the diffusers library.
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/log.h"
#include "diffusion/internal.h"
#include "diffusion/json.h"

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool is_weights_name(const char *name)
{
    static const char *const ends[] = { ".safetensors", ".pt", ".pth", ".gguf" };
    for (size_t i = 0; i < ZT_LEN(ends); i++) {
        const size_t n = strlen(name), m = strlen(ends[i]);
        if (n > m && strcmp(name + n - m, ends[i]) == 0)
            return true;
    }
    return false;
}

// The weights of a folder: what config.json names, the usual names, or the only file that can be one.
static int find_weights(const char *folder, const zt_config *c, char *out, size_t bytes)
{
    const char *const usual[] = { c->weights, "diffusion_pytorch_model.safetensors",
                                  "diffusion_pytorch_model.safetensors.index.json", "model.safetensors",
                                  "model.safetensors.index.json" };
    for (size_t i = c->weights[0] ? 0 : 1; i < ZT_LEN(usual); i++) {
        if (snprintf(out, bytes, "%s%s", folder, usual[i]) >= (int)bytes) {
            zt_error("%s: the name is too long", folder);
            return -EINVAL;
        }
        if (access(out, F_OK) == 0 || i == 0)
            return 0;
    }
    int found = 0;
    DIR *const dir = opendir(folder[0] ? folder : ".");
    for (struct dirent *e; dir && (e = readdir(dir)) != NULL;) {
        if (is_weights_name(e->d_name))
            found += snprintf(out, bytes, "%s%s", folder, e->d_name) < (int)bytes;
    }
    if (dir)
        closedir(dir);
    if (found != 1)
        zt_error("%s: %s", folder, found ? "several weight files, and config.json names none" : "no weight file");
    return found == 1 ? 0 : found ? -EINVAL : -ENOENT;
}

// The folder of `path`, with its slash, and the name of config.json in it; a file's own name is copied to `weights`.
static int find_folder(const char *path, char *folder, char *config, char *weights, size_t bytes, bool *dir)
{
    if (access(path, F_OK) < 0) {
        const int err = errno;
        zt_error("%s: %s", path, strerror(err));
        return -err;
    }
    const char *const slash = strrchr(path, '/');
    *dir = is_folder(path);
    const int n = *dir ? snprintf(folder, bytes, "%s%s", path, slash && !slash[1] ? "" : "/")
                       : snprintf(folder, bytes, "%.*s", slash ? (int)(slash - path) + 1 : 0, path);
    if (n < 0 || (size_t)n >= bytes || snprintf(config, bytes, "%sconfig.json", folder) >= (int)bytes
        || (!*dir && snprintf(weights, bytes, "%s", path) >= (int)bytes)) {
        zt_error("%s: the name is too long", path);
        return -EINVAL;
    }
    return 0;
}

// Folders of transformers in a directory that has no configuration of its own; `high` takes the steps of high noise.
static const struct layout {
    const char *own, *high;
} layouts[] = {
    { "low_noise_model", "high_noise_model" }, { "transformer_2", "transformer" }, { "transformer", NULL },
};

static const struct layout *find_layout(const char *path)
{
    char name[4096];
    for (size_t i = 0; i < ZT_LEN(layouts) && is_folder(path); i++) {
        if (snprintf(name, sizeof(name), "%s/config.json", path) < (int)sizeof(name) && access(name, F_OK) == 0)
            return NULL;
        if (snprintf(name, sizeof(name), "%s/%s/config.json", path, layouts[i].own) < (int)sizeof(name)
            && access(name, F_OK) == 0)
            return &layouts[i];
    }
    return NULL;
}

// Both transformers of a pair have one shape; what differs in their tensors is found when they are loaded.
static int check_alike(const zt_config *c, const char *config)
{
    zt_config other;
    const int err = zt_config_read(&other, config);
    if (err < 0)
        return err;
    const bool alike = other.dim == c->dim && other.heads == c->heads && other.layers == c->layers && other.ffn_dim == c->ffn_dim;
    zt_config_finish(&other);
    if (!alike)
        zt_error("%s: another shape than that of the transformer for low noise", config);
    return alike ? 0 : -EINVAL;
}

static int find_high(const char *path, const char *name, const zt_config *c, zt_model_files *f)
{
    static const zt_config none;
    char folder[4096], config[4096];
    if (snprintf(folder, sizeof(folder), "%s/%s/", path, name) >= (int)sizeof(folder)
        || snprintf(config, sizeof(config), "%s/%s/config.json", path, name) >= (int)sizeof(config)) {
        zt_error("%s: the name is too long", path);
        return -EINVAL;
    }
    if (access(config, F_OK) == 0) {
        const int err = check_alike(c, config);
        if (err < 0)
            return err;
    }
    return find_weights(folder, &none, f->high, sizeof(f->high));
}

// boundary_ratio of the pipeline of diffusers, where the transformer's own configuration has none.
static int read_boundary(const char *path, zt_config *c)
{
    char name[4096], key[256];
    void *text;
    size_t n;
    zt_json j;
    double v = 0.875;                           // of Wan2.2 from text
    if (c->boundary > 0)
        return 0;
    c->boundary = (float)v;
    if (snprintf(name, sizeof(name), "%s/model_index.json", path) >= (int)sizeof(name)
        || zt_file_read(&text, &n, name, ZT_CONFIG_MAX) < 0)
        return 0;
    zt_json_init(&j, text, n);
    bool ok = zt_json_enter(&j, '{');
    while (ok && zt_json_key(&j, key, sizeof(key)))
        ok = strcmp(key, "boundary_ratio") == 0 ? zt_json_number(&j, &v) : zt_json_skip(&j);
    ok = ok && zt_json_done(&j) && v > 0 && v <= 1;
    free(text);
    c->boundary = (float)v;
    if (!ok)
        zt_error("%s: not JSON, or boundary_ratio is not in 0..1", name);
    return ok ? 0 : -EINVAL;
}

int zt_model_find_all(const char *path, zt_config *c, zt_model_files *f)
{
    char own[4096];
    bool dir;
    const struct layout *const layout = find_layout(path);
    f->high[0] = 0;
    if (layout && snprintf(own, sizeof(own), "%s/%s", path, layout->own) >= (int)sizeof(own)) {
        zt_error("%s: the name is too long", path);
        return -EINVAL;
    }
    int err = find_folder(layout ? own : path, f->folder, f->config, f->weights, sizeof(f->folder), &dir);
    if (!err)
        err = zt_config_read(c, f->config);
    if (err)
        return err;
    if (dir)
        err = find_weights(f->folder, c, f->weights, sizeof(f->weights));
    if (!err && layout && layout->high) {
        err = find_high(path, layout->high, c, f);
        if (!err)
            err = read_boundary(path, c);
    }
    if (!err && layout)                         // what lies beside the transformers belongs to all
        snprintf(f->folder, sizeof(f->folder), "%s/", path);
    if (err)
        zt_config_finish(c);
    return err;
}

int zt_model_find_weights(const char *path, char *config, char *weights, size_t bytes)
{
    static const zt_config none;
    char folder[4096];
    bool dir;
    const int err = find_folder(path, folder, config, weights, ZT_MIN(bytes, sizeof(folder)), &dir);
    return err || !dir ? err : find_weights(folder, &none, weights, bytes);
}
