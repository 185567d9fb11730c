// SPDX-License-Identifier: Apache-2.0
// SDP offers: what is taken from good ones, and that bad ones are refused without harm.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "stream/offer.h"

// As Chromium writes it, shortened.
#define HEAD \
    "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=msid-semantic: WMS\r\n"
#define ICE \
    "c=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 AA:BB\r\n" \
    "a=setup:actpass\r\n"
#define VIDEO \
    "m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103 108\r\n" ICE "a=mid:0\r\n" \
    "a=extmap:3 urn:ietf:params:rtp-hdrext:toffset\r\n" \
    "a=extmap:5 http://www.webrtc.org/experiments/rtp-hdrext/playout-delay\r\na=recvonly\r\na=rtcp-mux\r\n" \
    "a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=rtpmap:102 H264/90000\r\n" \
    "a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42001f\r\na=rtpmap:103 H264/90000\r\n" \
    "a=fmtp:103 packetization-mode=1;profile-level-id=64001f\r\na=rtpmap:108 H264/90000\r\n" \
    "a=fmtp:108 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n"
#define CHANNEL "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n" ICE "a=mid:1\r\na=sctp-port:5000\r\n"
#define CANDIDATE "a=candidate:1 1 udp 2122260223 192.0.2.7 50000 typ host generation 0\r\n"

#define STRANGE "a=ssrc:77 cname:x\r\na=msid:- y\r\na=mid-1:0\r\na=mine\r\n"

static const char good[] = HEAD VIDEO STRANGE CANDIDATE CHANNEL;

static int read_text(zt_offer *o, const char *sdp, const char *codec, enum zt_candidates keep)
{
    return zt_offer_read(o, sdp, strlen(sdp), codec, keep);
}

static void what_an_offer_has_is_found(void **state)
{
    zt_offer o;
    assert_int_equal(read_text(&o, good, NULL, ZT_CANDIDATES_NONE), 0);
    assert_string_equal(o.codec, "h264");
    assert_int_equal(o.payload, 108);               // baseline, and packets may be fragmented
    assert_int_equal(o.playout_delay, 5);
    assert_true(o.channel);
    assert_string_equal(o.ufrag, "abcd");
    assert_null(strstr(o.sdp, "candidate"));
    assert_null(strstr(o.sdp, "ssrc"));             // a WebRTC stack may keep such names for good
    assert_null(strstr(o.sdp, "msid"));
    assert_null(strstr(o.sdp, "mid-1"));
    assert_null(strstr(o.sdp, "mine"));
    assert_non_null(strstr(o.sdp, "\r\na=recvonly\r\n"));
    assert_non_null(strstr(o.sdp, "\r\na=fmtp:97 apt=96\r\n"));
    zt_offer_finish(&o);
    assert_int_equal(read_text(&o, good, "vp8", ZT_CANDIDATES_PUBLIC), 0);
    assert_int_equal(o.payload, 96);
    assert_non_null(strstr(o.sdp, "192.0.2.7"));
    zt_offer_finish(&o);
}

static void what_cannot_be_used_is_refused(void **state)
{
    static const struct {
        const char *sdp;
        int         err;
    } bad[] = {
        { "hello", -EINVAL },
        { "v=0\r\n", -EINVAL },
        { "v=0\r\nnonsense\r\n", -EINVAL },
        { HEAD "m=video x\r\n", -EINVAL },
        { HEAD CHANNEL, -ENOTSUP },                                                     // no video
        { HEAD "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8/90000\r\n", -ENOTSUP },      // no ICE
        { HEAD "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n" ICE "a=rtpmap:96 AV1/90000\r\n", -ENOTSUP },
        { HEAD "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n" ICE "a=sendonly\r\na=rtpmap:96 VP8/90000\r\n", -ENOTSUP },
        { HEAD VIDEO "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:1\r\n", -ENOTSUP },     // no ICE there
        { HEAD VIDEO "a=x:\xff\xfe\r\n", -EINVAL },
        { HEAD VIDEO "a=x:\x01\r\n", -EINVAL },
        { HEAD VIDEO VIDEO VIDEO VIDEO VIDEO VIDEO VIDEO VIDEO VIDEO, -EINVAL },
    };
    zt_offer o;
    for (size_t i = 0; i < ZT_LEN(bad); i++)
        assert_int_equal(read_text(&o, bad[i].sdp, NULL, ZT_CANDIDATES_NONE), bad[i].err);
    assert_int_equal(read_text(&o, HEAD "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n" ICE "a=rtpmap:96 VP8/90000\r\n", "h264",
                               ZT_CANDIDATES_NONE), -ENOTSUP);
    char *large = malloc(ZT_OFFER_BYTES + 1);
    memset(large, 'a', ZT_OFFER_BYTES + 1);
    assert_int_equal(zt_offer_read(&o, large, ZT_OFFER_BYTES + 1, NULL, ZT_CANDIDATES_NONE), -EINVAL);
    free(large);
}

static void candidates_lead_nowhere_else(void **state)
{
    static const struct {
        const char *text;
        bool        public, all;
    } list[] = {
        { "candidate:1 1 udp 1 192.0.2.7 5000 typ host", true, true },
        { "candidate:1 1 UDP 1 2001:db8::1 5000 typ host", true, true },
        { "candidate:1 1 udp 1 127.0.0.1 5000 typ host", false, true },
        { "candidate:1 1 udp 1 169.254.1.1 5000 typ host", false, true },
        { "candidate:1 1 udp 1 ::1 5000 typ host", false, true },
        { "candidate:1 1 udp 1 fe80::1 5000 typ host", false, true },
        { "candidate:1 1 udp 1 224.0.0.1 5000 typ host", false, false },
        { "candidate:1 1 udp 1 255.255.255.255 5000 typ host", false, false },
        { "candidate:1 1 udp 1 0.0.0.0 5000 typ host", false, false },
        { "candidate:1 1 udp 1 ff02::1 5000 typ host", false, false },
        { "candidate:1 1 udp 1 ::ffff:127.0.0.1 5000 typ host", false, false },
        { "candidate:1 1 tcp 1 192.0.2.7 5000 typ host", false, false },
        { "candidate:1 0 udp 1 192.0.2.7 5000 typ host", false, false },
        { "candidate:1 1 udp 1 192.0.2.7 0 typ host", false, false },
        { "candidate:1 1 udp 1 victim.example 5000 typ host", false, false },
        { "candidate:1 1 udp 1 1b2c3d4e.local 5000 typ host", false, false },
        { "candidate:", false, false },
    };
    for (size_t i = 0; i < ZT_LEN(list); i++) {
        assert_false(zt_candidate_allowed(list[i].text, ZT_CANDIDATES_NONE));
        assert_int_equal(zt_candidate_allowed(list[i].text, ZT_CANDIDATES_PUBLIC), list[i].public);
        assert_int_equal(zt_candidate_allowed(list[i].text, ZT_CANDIDATES_ALL), list[i].all);
    }
}

static void count(void *cookie, const char *candidate)
{
    (void)candidate;
    ++*(int *)cookie;
}

static void fragments_trickle_and_restarts_are_told(void **state)
{
    static const char text[] = "a=ice-ufrag:abcd\r\na=ice-pwd:x\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n" CANDIDATE
                               CANDIDATE "a=end-of-candidates\r\n";
    int n = 0;
    assert_int_equal(zt_fragment_read(text, strlen(text), "abcd", ZT_CANDIDATES_PUBLIC, count, &n), 0);
    assert_int_equal(n, 2);
    assert_int_equal(zt_fragment_read(text, strlen(text), "other", ZT_CANDIDATES_PUBLIC, count, &n), -ESTALE);
    assert_int_equal(zt_fragment_read("", 0, "abcd", ZT_CANDIDATES_PUBLIC, count, &n), -EINVAL);
    assert_int_equal(zt_fragment_read("x", 1, "abcd", ZT_CANDIDATES_PUBLIC, count, &n), -EINVAL);
    char many[4096] = "a=ice-ufrag:abcd\r\n";
    for (int i = 0; i < 40; i++)
        strcat(many, CANDIDATE);
    n = 0;
    assert_int_equal(zt_fragment_read(many, strlen(many), "abcd", ZT_CANDIDATES_PUBLIC, count, &n), 0);
    assert_int_equal(n, ZT_OFFER_CANDIDATES);
}

static unsigned next(unsigned *random)
{
    return (*random = *random * 1664525u + 1013904223u) >> 8;
}

// A line or a byte is changed, doubled or lost.
static size_t mutate(char *out, const char *text, size_t bytes, unsigned *random)
{
    memcpy(out, text, bytes);
    for (unsigned n = 1 + next(random) % 4; n > 0; n--) {
        const size_t at = next(random) % bytes, more = next(random) % 40;
        switch (next(random) % 4) {
        case 0: out[at] = (char)next(random); break;
        case 1: out[at] = "0129:;=\r\n /a"[next(random) % 12]; break;
        case 2:
            if (at + more < bytes && bytes > 200) {
                memmove(out + at, out + at + more, bytes - at - more);
                bytes -= more;
            }
            break;
        default:
            if (at + more < bytes) {
                memmove(out + at + more, out + at, bytes - at);
                bytes += more;
            }
        }
    }
    return bytes;
}

static void mutated_ones_do_no_harm(void **state)
{
    unsigned random = 1, taken = 0;
    char text[sizeof(good) + 200];
    for (int i = 0; i < 100000; i++) {
        const size_t bytes = mutate(text, good, sizeof(good) - 1, &random);
        char *exact = malloc(bytes);            // the sanitizer sees the end
        memcpy(exact, text, bytes);
        zt_offer o;
        const int err = zt_offer_read(&o, exact, bytes, NULL, ZT_CANDIDATES_PUBLIC);
        assert_true(err == 0 || err == -EINVAL || err == -ENOTSUP);
        taken += err == 0;
        zt_offer_finish(&o);
        free(exact);
    }
    assert_true(taken > 1000 && taken < 99000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_an_offer_has_is_found),
        cmocka_unit_test(what_cannot_be_used_is_refused),
        cmocka_unit_test(candidates_lead_nowhere_else),
        cmocka_unit_test(fragments_trickle_and_restarts_are_told),
        cmocka_unit_test(mutated_ones_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
