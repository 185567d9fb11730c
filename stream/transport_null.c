// SPDX-License-Identifier: Apache-2.0
// The null transport: takes everything, keeps nothing. Tests and benchmarks measure what comes before it.
#include <errno.h>

#include "base/base.h"
#include "stream/transport.h"

static int null_open(zt_transport **out, const zt_transport_params *p)
{
    zt_transport *t = zt_alloc(sizeof(*t));
    if (!t)
        return -ENOMEM;

    t->type = &zt_transport_null;
    *out = t;
    return 0;
}

static void null_close(zt_transport **t)
{
    zt_free(*t);
    *t = NULL;
}

static int null_picture(zt_transport *t, const zt_frame *f)
{
    return 0;
}

static int null_packet(zt_transport *t, zt_packet *p)
{
    return 0;
}

const zt_transport_type zt_transport_null = {
    .name = "null",
    .open = null_open,
    .close = null_close,
    .picture = null_picture,
    .packet = null_packet,
};
