// SPDX-License-Identifier: Apache-2.0
// Inside stream/: what an encoder is, and how the stream finds one. One thread at a time.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/frame.h"
#include "base/packet.h"

#ifdef __cplusplus
extern "C" {
#endif

struct AVCodecParameters;
typedef struct zt_encoder zt_encoder;

// Called during encode and flush, in decoding order. The packet is borrowed; zt_packet_ref() to keep it.
typedef void zt_encoded_fn(void *cookie, zt_packet *p);

typedef struct zt_encoder_params {
    const char    *codec;       // as in zt_stream_params
    int            w, h;        // of the frames, even
    int            fps;
    int            crf;         // constant quality; < 0: none, bitrate rules; INT_MAX: the codec's usual
    int64_t        bitrate;     // bits/s; 0: none, crf rules
    bool           live;        // no delay: a packet per frame, parameter sets in front of every key frame
    bool           container;   // parameter sets go to the container instead
    zt_encoded_fn *on_packet;
    void          *cookie;
} zt_encoder_params;

typedef struct zt_encoder_type {
    const char *name;
    bool (*has)(const char *codec);
    // 0, -ENOSYS (logged with the package), -EINVAL (logged), -ENOMEM
    int  (*open)(zt_encoder **out, const zt_encoder_params *p);
    void (*close)(zt_encoder **e);
    // Borrows f (takes references if it needs them). Indices grow. key: this one must be a key frame.
    int  (*encode)(zt_encoder *e, zt_frame *f, bool key);
    int  (*flush)(zt_encoder *e);           // once, at the end
    int  (*bitrate)(zt_encoder *e, int64_t bits);   // from the next frame on
} zt_encoder_type;

// Every encoder starts with this.
struct zt_encoder {
    const zt_encoder_type          *type;
    const struct AVCodecParameters *par;    // what a container wants to know
};

extern const zt_encoder_type zt_encoder_av, zt_encoder_jpeg;

// By the first type that has the codec. -ENOSYS when none is built in (logged); else as its open.
int  zt_encoder_open(zt_encoder **out, const zt_encoder_params *p);
void zt_encoder_close(zt_encoder **e);      // takes NULL inside

// Pictures of one size into another: I420 both, chroma sited left both.
typedef struct zt_scaler zt_scaler;
int  zt_scaler_open(zt_scaler **out, int w, int h, int out_w, int out_h);  // 0, -ENOSYS (logged), -ENOMEM
void zt_scaler_run(zt_scaler *s, zt_frame *out, const zt_frame *in);        // pixels only
void zt_scaler_close(zt_scaler **s);        // takes NULL inside

// What zt_scaler_… are when libswscale is built in.
int  zt_scaler_sws_open(zt_scaler **out, int w, int h, int out_w, int out_h);
void zt_scaler_sws_run(zt_scaler *s, zt_frame *out, const zt_frame *in);
void zt_scaler_sws_close(zt_scaler **s);

#ifdef __cplusplus
}
#endif
