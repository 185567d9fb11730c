// SPDX-License-Identifier: Apache-2.0
// Reads what a WebRTC peer offers: its SDP and its candidates. Pure; everything in them is hostile until it is checked.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ZT_OFFER_BYTES      65536
#define ZT_OFFER_MEDIA      8           // m= lines at most
#define ZT_OFFER_CANDIDATES 16          // in all

// Where the peer may be.
enum zt_candidates {
    ZT_CANDIDATES_NONE,                 // drop them: the peer's address is learnt from its own checks
    ZT_CANDIDATES_PUBLIC,               // UDP; no loopback, link-local or multicast addresses
    ZT_CANDIDATES_ALL,                  // UDP; the peer is on this machine
};

typedef struct zt_offer {
    char       *sdp;                    // what may be given to a WebRTC stack; owned
    const char *codec;                  // "h264" or "vp8"
    int         payload;                // 96..127 as a rule
    int         playout_delay;          // id of that header extension, 1..14; 0: not offered
    bool        channel;                // it wants a data channel
    char        ufrag[257];             // of the peer's ICE session
} zt_offer;

// `codec`: the only one to take, or NULL: H.264 where it is offered, else VP8.
// 0, -EINVAL (not an SDP offer of a peer that wants to receive), -ENOTSUP (neither codec, no ICE or DTLS), -ENOMEM.
int  zt_offer_read(zt_offer *out, const char *sdp, size_t bytes, const char *codec, enum zt_candidates keep);
void zt_offer_finish(zt_offer *o);      // takes a zeroed one

// A trickled fragment (RFC 8840). Calls `found` with each usable candidate ("candidate:…", without a=) of the first
// media section. 0, -EINVAL (malformed), -ESTALE (another ICE session: a restart).
typedef void zt_candidate_fn(void *cookie, const char *candidate);
int zt_fragment_read(const char *sdp, size_t bytes, const char *ufrag, enum zt_candidates keep, zt_candidate_fn *found,
                     void *cookie);
// "candidate:…" is well formed and may be used. Reads no name: addresses only.
bool zt_candidate_allowed(const char *candidate, enum zt_candidates keep);

#ifdef __cplusplus
}
#endif
