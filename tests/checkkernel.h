// SPDX-License-Identifier: Apache-2.0
// Runs one kernel beside its reference on guarded memory and says whether it kept its contract.
#pragma once

#include "kernels/device.h"

// One rounding to f32, squared: the unit in which tolerances (mean square error / mean square) are derived.
// A sum of n terms of either sign, rounded after each, has n / 6 of them; formulas below allow n / 4.
#define CK_U2 0x1p-48

enum { CK_GUARD = 256, CK_BLOCKS = 320, CK_SAMPLES = 512 };

struct ck_block {
    char     *base, *before;    // guard, data, guard; the same when the kernel had not run
    size_t    bytes;            // of data
    zt_tensor written;          // what a kernel may write; data NULL for an input
};

typedef struct ck {
    zt_kernels  ref, before, now;   // level c; the level below; the level that is checked
    zt_device  *dev, *one;          // of two threads, of one; of a GPU, two queues
    zt_device  *host;               // the reference's: one, or a CPU's where that is a GPU's
    const char *level, *only;       // only: one operation, or NULL
    uint64_t    seed;
    bool        bench, quiet;
    double      most;               // operations of a case that is still run; 0: any
    int         passed, failed;

    // of the case that runs
    char            op[32], name[96];
    bool            ok, ready;
    uint64_t        random;
    struct ck_block block[CK_BLOCKS];
    int             blocks;

    // of its timing
    zt_device *run;
    int64_t    sample[CK_SAMPLES], started;
    int        samples;
} ck;

// One tensor in three copies: what the reference writes, what the kernel writes, and what the kernel
// writes when rows are grouped otherwise on one thread.
typedef struct ck_buf {
    zt_tensor ref, now, again;
} ck_buf;

// False when the case is not to be run. Its name seeds its inputs.
#define ck_begin(c, op, ...) ck_start(c, #op, (c)->now.op != (c)->before.op, __VA_ARGS__)
bool ck_start(ck *c, const char *op, bool differs, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void ck_end(ck *c);             // verifies and frees all memory of the case, counts it
void ck_fail(ck *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

// Is a case of so many operations left out?
bool ck_skips(const ck *c, double operations);

// Guarded, 64-byte aligned, for both sides where the kernels are a GPU's, all bytes 0xff (NaN): an input unless it is given to ck_writes().
void *ck_take(ck *c, size_t bytes);
void  ck_writes(ck *c, zt_tensor t);
void  ck_ready(ck *c);          // inputs are made: after this only outputs may change

// Rows are `pad` elements further apart than they are long.
zt_tensor ck_input(ck *c, enum zt_type type, int n0, int n1, int n2, int n3, int pad);  // normal, sd 1
ck_buf    ck_output(ck *c, enum zt_type type, int n0, int n1, int n2, int n3, int pad); // NaN
ck_buf    ck_inout(ck *c, enum zt_type type, int n0, int n1, int n2, int n3, int pad);  // normal, sd 1
float    *ck_floats(ck *c, int n, float mean, float sd);
int32_t  *ck_ints(ck *c, int n, int below);
// Rows whose quantisation to 8 bits is not a matter of the last bit; row 1 is zero when there are three.
zt_tensor ck_input_i8(ck *c, int M, int K, int pad);
// n values to pack: floats of that deviation, or bytes for I8 and I4.
void      ck_weights(ck *c, enum zt_type type, void *src, size_t n, float sd);
zt_matrix ck_matrix(ck *c, enum zt_type type, int N, int K, bool bias);
const char *ck_type(enum zt_type type);

uint64_t ck_random(ck *c);
int      ck_part(ck *c, int left);          // 1 .. left, mostly few

void ck_wait(ck *c);                                    // until what was called is done; the comparisons do it
void ck_compare(ck *c, const ck_buf *b, double limit);  // mean square error of now / mean square of ref
void ck_exact(ck *c, const ck_buf *b);                  // now has ref's bits
void ck_same(ck *c, const ck_buf *b);                   // again has now's bits

// while (ck_bench(c, operations, bytes)) call it on c->run: times it on one thread, then on two, when asked to.
bool ck_bench(ck *c, double operations, double bytes);

void check_linear(ck *c);
void check_moe(ck *c);
void check_norm(ck *c);
void check_attention(ck *c);
void check_conv(ck *c);
void check_history(ck *c);
void check_pixel(ck *c);
void check_sample(ck *c);
