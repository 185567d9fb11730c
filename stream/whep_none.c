// SPDX-License-Identifier: Apache-2.0
// What stream/whep.h is where webrtcbin was not there to build with: nothing can be opened.
#include <errno.h>

#include "base/log.h"
#include "stream/whep.h"

void zt_whep_prepare(char **argv)
{
    (void)argv;
}

int zt_whep_server_open(zt_whep_server **out, const zt_whep_params *p)
{
    (void)out, (void)p;
    zt_warn("no WebRTC: built without libgstreamer-plugins-base1.0-dev");
    return -ENOSYS;
}

void zt_whep_server_close(zt_whep_server **s)
{
    *s = NULL;
}

const char *zt_whep_codec(const char *offer, size_t bytes)
{
    (void)offer, (void)bytes;
    return NULL;
}

int zt_viewer_create(zt_viewer **out, zt_whep_server *s, const zt_viewer_params *p)
{
    (void)out, (void)s, (void)p;
    return -ENOSYS;
}

void zt_viewer_close(zt_viewer **v)
{
    *v = NULL;
}

int zt_viewer_accept(zt_viewer *v, const char *sdp, size_t bytes)
{
    (void)v, (void)sdp, (void)bytes;
    return -ENOSYS;
}

int zt_viewer_candidates(zt_viewer *v, const char *fragment, size_t bytes)
{
    (void)v, (void)fragment, (void)bytes;
    return -ENOSYS;
}

bool zt_viewer_send(zt_viewer *v, const char *text)
{
    (void)v, (void)text;
    return false;
}

bool zt_viewer_rtp(zt_viewer *v, uint64_t index, uint32_t *rtp)
{
    (void)v, (void)index, (void)rtp;
    return false;
}

void zt_viewer_get_stats(zt_viewer *v, zt_viewer_stats *out)
{
    (void)v;
    *out = (zt_viewer_stats){ 0 };
}
