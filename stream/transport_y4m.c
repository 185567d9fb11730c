// SPDX-License-Identifier: Apache-2.0
// YUV4MPEG2: raw pictures with a line of text in front, to a file, a pipe or stdout.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "stream/part.h"
#include "stream/transport.h"

typedef struct y4m {
    zt_transport base;
    zt_part      file;
    int          w, h, fps;
    bool         started;
} y4m;

static int y4m_open(zt_transport **out, const zt_transport_params *p)
{
    y4m *t = zt_alloc(sizeof(*t));
    if (!t)
        return -ENOMEM;

    const int err = zt_part_open(&t->file, p->url, p->overwrite);
    if (err < 0) {
        zt_free(t);
        return err;
    }
    t->base.type = &zt_transport_y4m;
    t->file.hurry = p->hurry;
    t->w = p->w;
    t->h = p->h;
    t->fps = p->fps;
    *out = &t->base;
    return 0;
}

static void y4m_close(zt_transport **out)
{
    y4m *t = (y4m *)*out;
    zt_part_close(&t->file);
    zt_free(t);
    *out = NULL;
}

// Waits for the first picture: a pipe may only be written on the stream's thread, which blocks SIGPIPE.
static int start(y4m *t)
{
    if (t->started)
        return 0;

    t->started = true;
    char head[160];
    const int n = snprintf(head, sizeof(head),
                           "YUV4MPEG2 W%d H%d F%d:1 Ip A1:1 C420mpeg2 XYSCSS=420MPEG2 XCOLORRANGE=LIMITED\n", t->w,
                           t->h, t->fps);
    return zt_part_write(&t->file, head, (size_t)n);
}

static int y4m_picture(zt_transport *base, const zt_frame *f)
{
    y4m *t = (y4m *)base;
    int err = start(t);
    if (!err)
        err = zt_part_write(&t->file, "FRAME\n", 6);

    for (int i = 0; i < 3 && !err; i++) {
        const int w = i ? f->w / 2 : f->w, h = i ? f->h / 2 : f->h;
        if (f->pitch[i] == w) {
            err = zt_part_write(&t->file, f->plane[i], (size_t)w * (size_t)h);
            continue;
        }
        for (int y = 0; y < h && !err; y++)
            err = zt_part_write(&t->file, f->plane[i] + y * f->pitch[i], (size_t)w);
    }
    return err;
}

static int y4m_finish(zt_transport *base)
{
    y4m *t = (y4m *)base;
    const int err = start(t);
    return err ? err : zt_part_commit(&t->file);
}

const zt_transport_type zt_transport_y4m = {
    .name = "y4m",
    .open = y4m_open,
    .close = y4m_close,
    .picture = y4m_picture,
    .finish = y4m_finish,
};
