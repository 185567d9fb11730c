// SPDX-License-Identifier: Apache-2.0
// The list of transports: which urls exist, what they take, what is built in.
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "config.h"

#include "base/base.h"
#include "base/log.h"
#include "stream/join.h"
#include "stream/transport.h"

#if HAVE_FFMPEG
#define BUILT_FILE &zt_transport_file
#define BUILT_PNG  &zt_transport_png
#else
#define BUILT_FILE NULL
#define BUILT_PNG  NULL
#endif
#if HAVE_RTSP
#define BUILT_RTSP &zt_transport_rtsp
#else
#define BUILT_RTSP NULL
#endif
#if HAVE_WEBRTC
#define BUILT_WHEP &zt_transport_whep
#else
#define BUILT_WHEP NULL
#endif

static const char libav[] = "libavcodec-dev libavformat-dev libswscale-dev";

static const zt_outlet outlets[] = {
    { "-",        NULL,                                 &zt_transport_y4m },
    { ".y4m",     NULL,                                 &zt_transport_y4m },
    { "null:raw", NULL,                                 &zt_transport_null },
    { "null:",    "h264 h265 vp9 av1 vp8 ffv1 prores jpeg",  &zt_transport_null },
    { ".mp4",     "h264 h265 vp9 av1",                  BUILT_FILE, libav },
    { ".mkv",     "h264 h265 vp9 av1 vp8 ffv1 prores",  BUILT_FILE, libav },
    { ".webm",    "vp9 av1 vp8",                        BUILT_FILE, libav },
    { ".mov",     "h264 h265 prores",                   BUILT_FILE, libav },
    { ".png",     NULL,                                 BUILT_PNG,  libav },
    { "rtsp:",    "h264",                               BUILT_RTSP, "libgstrtspserver-1.0-dev" },
    { "whep:",    "h264 vp8",                           BUILT_WHEP, "libgstreamer-plugins-base1.0-dev" },
};

#undef BUILT_FILE
#undef BUILT_PNG
#undef BUILT_RTSP
#undef BUILT_WHEP

static bool matches(const char *match, const char *url)
{
    const size_t n = strlen(match), length = strlen(url);
    if (match[0] == '.')
        return length > n && !strcasecmp(url + length - n, match);
    if (match[n - 1] == ':')
        return !strncmp(url, match, n);
    return !strcmp(url, match);
}

int zt_outlet_find(const zt_outlet **out, const char *url)
{
    for (size_t i = 0; i < ZT_LEN(outlets); i++) {
        if (!matches(outlets[i].match, url))
            continue;
        if (!outlets[i].type) {
            zt_error("cannot write %s: built without %s", url, outlets[i].needs);
            return -ENOSYS;
        }
        *out = &outlets[i];
        return 0;
    }
    zt_error("cannot write %s: not .mp4 .mkv .webm .mov .y4m .png, - (y4m on stdout), null:, rtsp: or whep:", url);
    return -EINVAL;
}

bool zt_outlet_takes(const zt_outlet *o, const char *codec)
{
    const size_t n = strlen(codec);
    for (const char *at = o->codecs; n && at && (at = strstr(at, codec)); at += n)
        if ((at == o->codecs || at[-1] == ' ') && (at[n] == ' ' || !at[n]))
            return true;
    return false;
}

void zt_transport_close(zt_transport **t)
{
    if (*t)
        (*t)->type->close(t);
}

int zt_stream_join(const zt_join_params *p, int64_t *frames)
{
    const zt_outlet *o;
    const int err = zt_outlet_find(&o, p->url);
    if (err < 0)
        return err;
    if (!o->codecs)
        return zt_join_y4m(p, frames);
#if HAVE_FFMPEG
    return zt_join_av(p, frames);
#else
    return -ENOSYS;
#endif
}

int zt_rtsp_server_open(zt_rtsp_server **out, const char *host, int port)
{
#if HAVE_RTSP
    return zt_rtsp_gst_open(out, host, port);
#else
    zt_error("cannot serve RTSP: built without libgstrtspserver-1.0-dev");
    return -ENOSYS;
#endif
}

void zt_rtsp_server_close(zt_rtsp_server **s)
{
#if HAVE_RTSP
    zt_rtsp_gst_close(s);
#endif
}

int zt_rtsp_server_port(const zt_rtsp_server *s)
{
#if HAVE_RTSP
    return zt_rtsp_gst_port(s);
#else
    return 0;
#endif
}

void zt_rtsp_server_password(zt_rtsp_server *s, const char *user, const char *password)
{
#if HAVE_RTSP
    zt_rtsp_gst_password(s, user, password);
#endif
}
