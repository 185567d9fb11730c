// SPDX-License-Identifier: Apache-2.0
// SDP offers line by line (RFC 8866, 8829): what is used is checked, candidates are taken out or checked.
#include "stream/offer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

#define PAYLOADS  128
#define LINE      1024      // longest line

typedef struct reader {
    // The whole
    bool  dtls;
    bool  ufrag_here, pwd_here, ufrag_all, pwd_all;     // of this section; before the first, for all
    bool  open, lacks;          // this section has a port; one with a port has no credentials
    char  ufrag[257];
    int   media, candidates;
    bool  channel;
    // The video section that is used: the first that can be received
    int   video;            // its number, -1: none yet
    bool  in_video, sends_only;
    char  h264[PAYLOADS];   // 0: not; 1: H.264; 2: with packetization-mode 1; 3: and baseline
    char  vp8[PAYLOADS];
    int   order[PAYLOADS], formats;     // payload types as the m= line lists them
    int   playout_delay;
} reader;

static bool is_text(const char *s, size_t bytes)
{
    for (size_t i = 0; i < bytes;) {
        const int n = zt_utf8_length(s + i, bytes - i);
        if (!n || (unsigned char)s[i] == 127 || ((unsigned char)s[i] < 32 && !strchr("\t\r\n", s[i])))
            return false;
        i += (size_t)n;
    }
    return true;
}

// Copies the next line without its end. False at the end; a line that is too long is cut to nothing: malformed.
static bool next_line(const char **at, const char *end, char line[LINE])
{
    if (*at >= end)
        return false;
    const char *nl = memchr(*at, '\n', (size_t)(end - *at));
    const char *stop = nl ? nl : end;
    size_t n = (size_t)(stop - *at);
    if (n && (*at)[n - 1] == '\r')
        n--;
    if (n >= LINE)
        n = 0;
    memcpy(line, *at, n);
    line[n] = 0;
    *at = nl ? nl + 1 : end;
    return true;
}

static const char *after(const char *line, const char *prefix)
{
    const size_t n = strlen(prefix);
    return strncmp(line, prefix, n) ? NULL : line + n;
}

static void read_formats(reader *r, const char *list)
{
    r->formats = 0;
    while (*list) {
        char *end;
        const long pt = strtol(list, &end, 10);
        if (end == list)
            return;
        if (pt >= 0 && pt < PAYLOADS && r->formats < PAYLOADS)
            r->order[r->formats++] = (int)pt;
        list = end;
    }
}

// "m=video 9 UDP/TLS/RTP/SAVPF 96 97"
static void end_media(reader *r)
{
    if (!r->media) {
        r->ufrag_all = r->ufrag_here;
        r->pwd_all = r->pwd_here;
    } else if (r->open && !((r->ufrag_here || r->ufrag_all) && (r->pwd_here || r->pwd_all))) {
        r->lacks = true;
    }
    r->ufrag_here = r->pwd_here = false;
}

static bool begin_media(reader *r, const char *line)
{
    char kind[32], protocol[64];
    int port, used = 0;
    if (sscanf(line, "m=%31s %d %63s %n", kind, &port, protocol, &used) < 3 || !used || port < 0 || port > 65535)
        return false;
    end_media(r);
    r->open = port != 0;
    r->in_video = false;
    if (!strcmp(kind, "application") && strstr(protocol, "DTLS/SCTP"))
        r->channel = true;
    if (!strcmp(kind, "video") && r->video < 0 && port) {
        r->video = r->media;
        r->in_video = true;
        read_formats(r, line + used);
    }
    return ++r->media <= ZT_OFFER_MEDIA;
}

static void read_rtpmap(reader *r, const char *text)
{
    char name[32];
    int pt;
    if (sscanf(text, "%d %31s", &pt, name) < 2 || pt < 0 || pt >= PAYLOADS)
        return;
    if (!strcasecmp(name, "H264/90000"))
        r->h264[pt] = (char)ZT_MAX(r->h264[pt], 1);
    if (!strcasecmp(name, "VP8/90000"))
        r->vp8[pt] = 1;
}

static void read_fmtp(reader *r, const char *text)
{
    int pt, used = 0;
    if (sscanf(text, "%d %n", &pt, &used) < 1 || !used || pt < 0 || pt >= PAYLOADS)
        return;
    if (strstr(text, "packetization-mode=1"))
        r->h264[pt] = strcasestr(text, "profile-level-id=42") ? 3 : 2;
}

static void read_extension(reader *r, const char *text)
{
    int id, used = 0;
    if (sscanf(text, "%d%n", &id, &used) < 1 || id < 1 || id > 14)
        return;
    const char *uri = strchr(text, ' ');
    if (uri && !strcmp(uri + 1, "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"))
        r->playout_delay = id;
}

static void read_attribute(reader *r, const char *line)
{
    const char *text;
    if ((text = after(line, "a=ice-ufrag:")) && strlen(text) < sizeof(r->ufrag) && *text) {
        r->ufrag_here = true;
        if (!r->ufrag[0])
            strcpy(r->ufrag, text);
    } else if ((text = after(line, "a=ice-pwd:")) && strlen(text) >= 22) {
        r->pwd_here = true;
    } else if ((text = after(line, "a=fingerprint:")) && strchr(text, ' ')) {
        r->dtls = true;
    } else if (!r->in_video) {
        return;
    } else if ((text = after(line, "a=rtpmap:"))) {
        read_rtpmap(r, text);
    } else if ((text = after(line, "a=fmtp:"))) {
        read_fmtp(r, text);
    } else if ((text = after(line, "a=extmap:"))) {
        read_extension(r, text);
    } else if (!strcmp(line, "a=sendonly") || !strcmp(line, "a=inactive")) {
        r->sends_only = true;
    }
}

static bool is_candidate(const char *line)
{
    return after(line, "a=candidate:") || after(line, "a=end-of-candidates");
}

bool zt_candidate_allowed(const char *candidate, enum zt_candidates keep)
{
    char foundation[40], protocol[8], address[64], type[12];
    unsigned component, port;
    unsigned long priority;
    uint8_t a[16];
    if (keep == ZT_CANDIDATES_NONE || strlen(candidate) >= LINE ||
        sscanf(candidate, "candidate:%39s %u %7s %lu %63s %u typ %11s", foundation, &component, protocol, &priority,
               address, &port, type) != 7 ||
        component < 1 || component > 2 || port < 1 || port > 65535 || strcasecmp(protocol, "udp"))
        return false;
    if (inet_pton(AF_INET, address, a) == 1) {
        if (a[0] >= 224 || a[0] == 0)
            return false;
        return keep == ZT_CANDIDATES_ALL || (a[0] != 127 && !(a[0] == 169 && a[1] == 254));
    }
    if (inet_pton(AF_INET6, address, a) != 1 || a[0] == 0xff)
        return false;
    static const uint8_t none[16] = { 0 }, mapped[12] = { [10] = 0xff, [11] = 0xff };
    if (!memcmp(a, none, 16) || !memcmp(a, mapped, 12))
        return false;
    const bool loopback = !memcmp(a, none, 15) && a[15] == 1, link_local = a[0] == 0xfe && (a[1] & 0xc0) == 0x80;
    return keep == ZT_CANDIDATES_ALL || (!loopback && !link_local);
}

// Attributes that say something to a sender. A WebRTC stack may keep a name for each other one for good, and for each
// source that it names.
static bool is_known(const char *line)
{
    static const char *const known[] = {
        "bundle-only", "candidate", "end-of-candidates", "extmap", "extmap-allow-mixed", "fingerprint", "fmtp", "group",
        "ice-lite", "ice-options", "ice-pwd", "ice-ufrag", "inactive", "max-message-size", "mid", "recvonly", "rtcp",
        "rtcp-fb", "rtcp-mux", "rtcp-rsize", "rtpmap", "sctp-port", "sctpmap", "sendonly", "sendrecv", "setup",
    };
    const size_t n = strcspn(line + 2, ":");
    for (size_t i = 0; i < ZT_LEN(known); i++)
        if (strlen(known[i]) == n && !strncmp(known[i], line + 2, n))
            return true;
    return false;
}

// Copies every line but attributes that are not known and candidates that may not be used.
static int read_lines(reader *r, FILE *out, const char *sdp, size_t bytes, enum zt_candidates keep)
{
    const char *at = sdp, *end = sdp + bytes;
    char line[LINE];
    for (int n = 0; next_line(&at, end, line); n++) {
        if (!line[0] && at >= end)
            break;
        if (!(line[0] >= 'a' && line[0] <= 'z') || line[1] != '=' || (n == 0 && strcmp(line, "v=0")))
            return -EINVAL;
        if (line[0] == 'm' && !begin_media(r, line))
            return -EINVAL;
        if (line[0] == 'a')
            read_attribute(r, line);
        if (line[0] == 'a' && !is_known(line))
            continue;
        if (is_candidate(line) && (!zt_candidate_allowed(line + 2, keep) || ++r->candidates > ZT_OFFER_CANDIDATES))
            continue;
        fprintf(out, "%s\r\n", line);
    }
    return 0;
}

// The best payload type of a codec; -1: none.
static int best(const reader *r, const char *rank, int least)
{
    int found = -1;
    for (int i = 0; i < r->formats; i++)
        if (rank[r->order[i]] >= least && (found < 0 || rank[r->order[i]] > rank[found]))
            found = r->order[i];
    return found;
}

static int choose(zt_offer *out, const reader *r, const char *codec)
{
    const int h264 = best(r, r->h264, 2), vp8 = best(r, r->vp8, 1);
    if (h264 >= 0 && (!codec || !strcmp(codec, "h264"))) {
        out->codec = "h264";
        out->payload = h264;
        return 0;
    }
    if (vp8 >= 0 && (!codec || !strcmp(codec, "vp8"))) {
        out->codec = "vp8";
        out->payload = vp8;
        return 0;
    }
    return -ENOTSUP;
}

int zt_offer_read(zt_offer *out, const char *sdp, size_t bytes, const char *codec, enum zt_candidates keep)
{
    *out = (zt_offer){ 0 };
    if (bytes < 4 || bytes > ZT_OFFER_BYTES || !is_text(sdp, bytes))
        return -EINVAL;
    reader r = { .video = -1 };
    zt_offer o = { 0 };
    size_t length;
    FILE *copy = open_memstream(&o.sdp, &length);
    if (!copy)
        return -ENOMEM;
    int err = read_lines(&r, copy, sdp, bytes, keep);
    end_media(&r);
    const int failed = ferror(copy);
    if (fclose(copy) || failed)
        err = -ENOMEM;
    if (!err && !r.media)
        err = -EINVAL;
    if (!err && (r.video < 0 || r.sends_only || r.lacks || !r.ufrag[0] || !r.dtls))
        err = -ENOTSUP;
    if (!err)
        err = choose(&o, &r, codec);
    if (err < 0) {
        free(o.sdp);
        return err;
    }
    o.playout_delay = r.playout_delay;
    o.channel = r.channel;
    strcpy(o.ufrag, r.ufrag);
    *out = o;
    return 0;
}

void zt_offer_finish(zt_offer *o)
{
    free(o->sdp);
    *o = (zt_offer){ 0 };
}

int zt_fragment_read(const char *sdp, size_t bytes, const char *ufrag, enum zt_candidates keep, zt_candidate_fn *found,
                     void *cookie)
{
    if (bytes > ZT_OFFER_BYTES || !is_text(sdp, bytes))
        return -EINVAL;
    const char *at = sdp, *end = sdp + bytes, *text;
    char line[LINE];
    int media = 0, candidates = 0, lines = 0;
    for (; next_line(&at, end, line); lines++) {
        if (!line[0] && at >= end)
            break;
        if (!(line[0] >= 'a' && line[0] <= 'z') || line[1] != '=')
            return -EINVAL;
        if ((text = after(line, "a=ice-ufrag:")) && strcmp(text, ufrag))
            return -ESTALE;
        media += line[0] == 'm';
        if (media < 2 && after(line, "a=candidate:") && zt_candidate_allowed(line + 2, keep) &&
            ++candidates <= ZT_OFFER_CANDIDATES)
            found(cookie, line + 2);
    }
    return lines ? 0 : -EINVAL;
}
