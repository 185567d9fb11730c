// SPDX-License-Identifier: Apache-2.0
// A WebRTC viewer in C, for tests: offers to receive, counts and decodes what comes, talks over a data channel.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct whep_client whep_client;

// Called on a thread of the client's. luma: the picture's, NULL where the client does not decode.
typedef void whep_picture_fn(void *cookie, const uint8_t *luma, int pitch, int w, int h, uint32_t rtp);
typedef void whep_message_fn(void *cookie, const char *text);

typedef struct whep_client_params {
    const char      *codec;         // "h264" or "vp8"
    bool             channel;       // opens a data channel "control"
    bool             decode;
    int              latency;       // ms of jitter buffer (20): room for packets to be sent again
    whep_picture_fn *picture;       // or NULL
    whep_message_fn *message;       // or NULL
    void            *cookie;
} whep_client_params;

whep_client *whep_client_create(const whep_client_params *p);
// Waits for the offer with its candidates, at most 5 s. Owned by the client; NULL: none came.
const char  *whep_client_offer(whep_client *c);
void         whep_client_answer(whep_client *c, const char *sdp);
int          whep_client_pictures(whep_client *c);          // access units so far
bool         whep_client_send(whep_client *c, const char *text);    // false: the channel is not open (yet)
void         whep_client_destroy(whep_client *c);
