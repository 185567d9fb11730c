// SPDX-License-Identifier: Apache-2.0
// Every operation once, with its contract. The scalar reference (zt_<op>_c) is the specification.
//
// All operations: the result of a row (a query, a pixel) has the same bits whatever other rows are in the call,
// however many threads run it, and however tensors are placed ("batch-invariant"): kernel path and order of
// summation depend on weight shapes only. Outputs do not overlap inputs unless "in place" is said.
#pragma once

#include <stdbool.h>

#include "kernels/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

// The list of operations, once. Adding a name here without its zt_<name>_c is a link error; that is deliberate.
#define ZT_OPS(X)      \
    X(linear)          \
    X(layer_norm)      \
    X(rms_rope)        \
    X(kv_append)       \
    X(qkv_append)      \
    X(attention)       \
    X(moe)             \
    X(conv)            \
    X(pixel_shuffle)   \
    X(latents_in)      \
    X(rgb_to_i420)     \
    X(combine)         \
    X(patchify)        \
    X(unpatchify)      \
    X(warp)            \
    X(modulation)      \
    X(history)

struct zt_device;

enum zt_act { ZT_ACT_NONE, ZT_ACT_RELU, ZT_ACT_SILU, ZT_ACT_GELU };     // GELU: Wan's tanh form

// A weight matrix as the kernels read it. One layout for every level; P = 4 / bytes of an element:
//   data [N16/16][KP/P][16][P]     N16, KP: N and K rounded up to 16 and P; padding is zero
// I8 is stored as uint8_t, w + 128 (padding 128). See zt_matrix_pack().
// I4 is stored as w + 8, -8 <= w <= 7, in bytes [N16/16][K8/8][16][4], K8: K rounded up to 8. Of a column's four bytes,
//   b holds element b of the 8 in its lower half, 4 + b in its upper (padding 8). Each 64 along K share a factor 0..15.
typedef struct zt_matrix {
    enum zt_type   type;    // ZT_F32, ZT_BF16, ZT_I8, ZT_I4
    int            N, K;    // out, in
    const void    *data;    // 64-byte aligned
    const float   *scale;   // [N16], finite beyond N. I8: w = (stored - 128) * scale; I4: (stored - 8) * factor * scale
    const float   *bias;    // [N16] or NULL
    const uint8_t *factor;  // I4 only: [N16/16][G][16], G = K / 64 rounded up
} zt_matrix;
enum { ZT_GROUP = 64 };     // elements of a row that share a factor

// Bytes of `data` for that type and shape.
size_t zt_matrix_bytes(enum zt_type type, int N, int K);
// Packs w, row n at src + n * K elements. `from` F32: to F32 or BF16; I8: to I8 (values -127..127, no scaling) or I4
// (-8..7).
// Rows land from row0 on (so q, k, v can share one matrix); `stride16` 1 packs panels of 16 rows in sequence, 2 into
// every second panel (for zt_moe.up: w1 with row0 0, w3 with row0 16). Packs nothing else: pads first with
// zt_matrix_clear().
void zt_matrix_clear(void *data, enum zt_type type, int N, int K);
void zt_matrix_pack(void *data, enum zt_type type, int N, int K, const void *src, enum zt_type from, int rows, int row0,
                    int stride16);
// The same for factors, row n at src + n * G; their bytes, which are zero to begin with.
size_t zt_factor_bytes(int N, int K);
void zt_factor_pack(uint8_t *factor, int N, int K, const uint8_t *src, int rows, int row0, int stride16);

// y[m][n] = act(sum_k x[m][k] w[n][k] + bias[n])
//   gate == NULL and !add   out = y
//   add                     out = out + y
//   gate                    out = out + gate[row[m]][n] * y          row NULL: row 0 for all
//   out, x   f32 [1, 1, M, N], [1, 1, M, K]   rows may be strided; M >= 1
// F32: products and sums in f32. BF16: x is rounded to bf16, sums in f32. I8: x is quantised per row, symmetric:
//   s = max|x| / 127, q = round_half_even(x * (127 / max|x|)), each step rounded to f32 (s = 0, q = 0 when
//   max|x| < 2^-100); sums are exact integers;
//   y = act(float(sum) * (s * scale[n]) + bias[n]). I4: the same, its integers being (stored - 8) * factor.
typedef struct zt_epilogue {
    enum zt_act    act;
    bool           add;
    const float   *gate;        // [S][gate_step]
    int64_t        gate_step;
    const int32_t *row;         // [M], values in [0, S)
} zt_epilogue;
// e is never NULL; { 0 } stores y.
typedef void zt_linear_fn(struct zt_device *d, zt_tensor out, zt_tensor x, const zt_matrix *w, const zt_epilogue *e);

// out[m][c] = (x[m][c] - mean) / sqrt(var + eps) * scale[row[m]][c] + shift[row[m]][c]     biased variance
//   out, x        f32 [1, 1, M, C]; in place allowed; rows may be strided
//   scale, shift  f32 [S][step]; row NULL: row 0 for all
typedef void zt_layer_norm_fn(struct zt_device *d, zt_tensor out, zt_tensor x, const float *scale, const float *shift,
                              int64_t step, const int32_t *row, float eps);

// In place: u = x[m][c] / sqrt(mean_c(x[m]^2) + eps) * weight[c]; then, when angle is given, each pair
// (u[2i], u[2i+1]) of each head of width D is rotated: (a cos - b sin, a sin + b cos).
//   x       f32 [1, 1, M, C]; rows may be strided; C = heads * D, D even
//   weight  f32 [C]
//   angle   f32 [M][D/2][2] (cos, sin) or NULL
typedef void zt_rms_rope_fn(struct zt_device *d, zt_tensor x, const float *weight, const float *angle, int D,
                            float eps);

// Keys and values of one attention context, kept in slots (one per frame; text has one). P = 4 / element bytes:
//   k [slot][H][keys/16][D/P][16][P]     v [slot][H][keys/P][D][P]
// `keys` is a multiple of 16; keys [valid, keys) of a slot are padding: zero, never attended.
// I8: k = mean + (stored - 128) * scale of its slot and head, v = stored * scale of its slot, head and dim. `mean` is
// that of the slot's keys: they differ less from it than from zero, and so lose less.
typedef struct zt_kv {
    enum zt_type type;          // ZT_F32, ZT_BF16 or ZT_I8 (D a multiple of 4)
    int          H, D;          // heads; head width, a multiple of 16 (of 2 at level c and avx2)
    int          keys, valid;   // per slot
    void        *k, *v;         // 64-byte aligned
    float       *scale;         // I8 only: [slot][H] of zt_kv_scales() each: mean of k [D], scale of v [D], scale of k
} zt_kv;
size_t zt_kv_slot_bytes(const zt_kv *kv);       // of one slot's k (v takes the same)
size_t zt_kv_scales(const zt_kv *kv);           // floats of a slot and head: 2 D + 16; 0 when the type has none

// Writes rows 0..valid-1 of k and v (f32 [1, 1, valid, H*D], rows may be strided) into a slot, rounded to its type.
// I8: mean = (sum of k over the keys, in order) / valid; with a = largest |k - mean| of the head, or |v| of its dim,
// scale = a / 127 and stored = round_half_even(x * (127 / a)), each step rounded to f32; both 0 when a < 2^-100.
typedef void zt_kv_append_fn(struct zt_device *d, const zt_kv *kv, int slot, zt_tensor k, zt_tensor v);

// rms_rope of q and of k in place, then kv_append of k and v; the same bits as these three.
//   qkv     f32 [1, 1, valid, 3 * H*D]: q, k, v side by side; rows may be strided
//   angle   f32 [valid][D/2][2] or NULL
typedef void zt_qkv_append_fn(struct zt_device *d, const zt_kv *kv, int slot, zt_tensor qkv, const float *weight_q,
                              const float *weight_k, const float *angle, float eps);

// Rows [row0, row0 + rows) of q attend to the keys of `n` slots of one context, in the order given.
typedef struct zt_span {
    int          row0, rows;
    const zt_kv *kv;
    const int   *slot;          // [n]
    int          n;
    const float *bias;          // added to the logits: f32 [n][valid], or NULL
} zt_span;

// out[r][h*D..] = sum_j softmax_j(q[r] . k[j] / sqrt(D) + bias[j]) v[j], per head
//   out, q   f32 [1, 1, M, H*D]; rows may be strided; every row belongs to at most one span, and stays when to none
// BF16 caches: q / sqrt(D) and the probabilities are rounded to bf16, sums and softmax in f32.
// I8 caches: each head of q is quantised as rows are in linear; q . mean is added to the logits in f32, so what the
// keys have in common costs no accuracy; probabilities are rounded to 1/255 of the row's largest. A level may round
// logits to 1/64 of a factor of two, within 480 factors of two of 0.
typedef void zt_attention_fn(struct zt_device *d, zt_tensor out, zt_tensor q, const zt_span *span, int n);

// Mixture of experts as DeepSeek-V3 has it (specs: moe-ffn):
//   s = score(x . gate_w^T) in f32; the k largest of s + gate_b (ties: the lower index) are selected
//   groups > 1: only from the `limited` best groups of E / groups neighbours; a group's mark is the sum of its two
//   largest s + gate_b, or without gate_b its largest s
//   g_i = s_i [/ sum of selected s, sigmoid only] * route_scale
//   f(x) = shared(x) + sum over ranks 0, 1, ... of g_i expert_i(x);  expert(x) = down(SiLU(w1 x) * (w3 x))
//   then the epilogue as in linear (act is ignored), y = f(x)
//   out, x   f32 [1, 1, M, C]   rows may be strided; M >= 1
enum zt_score { ZT_SIGMOID, ZT_SOFTMAX };
typedef struct zt_moe {
    int              E, k;          // experts: 1..1024; selected: 1..16
    int              groups, limited;   // group-limited selection; 1, 1 (or 0) for none
    enum zt_score    score;
    float            route_scale;
    const float     *gate_w;        // [E][C]
    const float     *gate_b;        // [E] or NULL
    const zt_matrix *up;            // [E]: N = 2 * I16, K = C, panels of 16 rows alternate w1, w3
    const zt_matrix *down;          // [E]: N = C, K = I16: the inner width, rounded up to 16
    const zt_matrix *shared_up, *shared_down;   // one each, or NULL
    int32_t         *topk;          // [M][k] out, or NULL: the selection, best first
    float           *gates;         // [M][k] out, or NULL
} zt_moe;
// I8, I4: x is quantised per row as in linear, and so is the hidden row SiLU(.) * (.).
typedef void zt_moe_fn(struct zt_device *d, zt_tensor out, zt_tensor x, const zt_moe *w, const zt_epilogue *e);

// 3x3 convolution, zero padding 1, channels last:
//   in(y, x) = [a(y, x), b(y, x)], read at (y/2, x/2) when up
//   out = act(conv(in) + bias + residual)
//   a, b, residual, out   [1, h, w, channels], F32 with F32 weights, BF16 with BF16 and I8 weights; out may be
//                         F32 with those, too. Rows and pixels may be strided. out is [1, 2h, 2w, N] when up.
//                         b, residual: data NULL for none; residual is of out's shape
//   w    N = out channels, K = 9 * (Ca + Cb), ordered [ky][kx][channel]; up: only N, K and type are read
//   up   output (2 y + p, 2 x + q) = sum over ky, kx in 0..1 of in(y + p - 1 + ky, x + q - 1 + kx) times
//        phase[2 p + q]: N, K = 4 * (Ca + Cb), ordered [ky][kx][channel]; see zt_conv_phase()
// I8: inputs are those of a ReLU; with m = the largest of a and b, they are quantised to round_half_even(x * (255 /
// m)) and
//   y = act(float(sum) * (m / 255 * scale[n]) + bias[n] + residual), each step rounded to f32; 0 when m < 2^-100.
//   Sums are exact integers; avx2 rounds them to f32.
typedef struct zt_conv {
    zt_matrix   w, phase[4];
    bool        up;         // nearest x2 before the convolution
    enum zt_act act;        // NONE or RELU
} zt_conv;
// Weights of output pixel (p, q) of each doubled one: to [2][2][C] from those of a channel, w [3][3][C].
void zt_conv_phase(float *to, const float *w, int C, int p, int q);
typedef void zt_conv_fn(struct zt_device *d, zt_tensor out, zt_tensor a, zt_tensor b, zt_tensor residual,
                        const zt_conv *c);

// out[c][2y+q][2x+r] = in[y][x][c*4 + q*2 + r], clamped to [-1, 1].  in f32 [1, h, w, 4*C], out f32 [1, C, 2h, 2w]
typedef void zt_pixel_shuffle_fn(struct zt_device *d, zt_tensor out, zt_tensor in);

// out[y][x][c] = limit * tanh(z[c][y][x] / limit) (limit 0: copied).  z f32 [1, C, h, w], out F32 or BF16 [1, h, w, C]
typedef void zt_latents_in_fn(struct zt_device *d, zt_tensor out, zt_tensor z, float limit);

// BT.709 limited range, 4:2:0, chroma sited left: U and V are averaged over two rows and filtered (1 2 1)/4
// horizontally around the left column (edges repeat), then rounded to nearest. rgb f32 [1, 3, h, w] in [-1, 1]
// (clamped), h and w even.
typedef void zt_rgb_to_i420_fn(struct zt_device *d, uint8_t *const plane[3], const ptrdiff_t pitch[3], zt_tensor rgb);

// out = a * x + b * y, elementwise; f32, dense, any shape of equal size; in place allowed
typedef void zt_combine_fn(struct zt_device *d, zt_tensor out, float a, zt_tensor x, float b, zt_tensor y);

// Token m = (i, j) of the (h/2, w/2) grid: out[m][(c0 + c)*4 + q*2 + r] = x[c][2i+q][2j+r].
//   x f32 [1, C, h, w] dense, h and w even; out f32 [1, 1, h/2*w/2, >= (c0 + C)*4]; other columns stay
typedef void zt_patchify_fn(struct zt_device *d, zt_tensor out, zt_tensor x, int c0);

// out[c][2i+q][2j+r] = x[m][(q*2 + r)*C + c].  x f32 [1, 1, M, 4*C], out f32 [1, C, h, w] dense
typedef void zt_unpatchify_fn(struct zt_device *d, zt_tensor out, zt_tensor x);

// out[c][y][x] = in[c] at (y + move[1][y][x], x + move[0][y][x]), by bicubic convolution (Keys 1981, a = -0.75) over the
// 4x4 pixels around; beyond the edge is the edge's pixel.  out, in f32 [1, C, h, w] dense, move f32 [1, 2, h, w] dense;
// out is not in
typedef void zt_warp_fn(struct zt_device *d, zt_tensor out, zt_tensor in, zt_tensor move);

// out[s][i][c] = table[i][c] + e[s][i*C + c] (+ 1 for the rows i whose bit is set in `ones`)
//   e f32 [1, 1, S, n*C]; table f32 [n][C]; out f32 [1, S, n, C] dense.  e may be [1, 1, S, C]: then e[s][c] serves
//   every i
typedef void zt_modulation_fn(struct zt_device *d, zt_tensor out, zt_tensor e, const float *table, unsigned ones);

// One frame joins the two before it, for convolutions over time. f[m] = act(x[m] / max(|x[m]|, 1e-12) sqrt(C) gamma),
// or x[m] without gamma.
//   past NULL    out[m] = f[m]
//   past         out[m] = [f[m], past[m]]; then past[m] becomes the first 2 C of out[m]
//   x            f32 [1, 1, M, C]; rows may be strided
//   out          F32 or BF16 [1, 1, M, C or 3 C], dense
//   past         [M][2][C] of out's type, the newer frame first
//   gamma, act   f32 [C] or NULL; NONE or SILU
typedef void zt_history_fn(struct zt_device *d, zt_tensor out, void *past, zt_tensor x, const float *gamma, enum zt_act act);

typedef struct zt_kernels {
#define X(op) zt_##op##_fn *op;
    ZT_OPS(X)
#undef X
} zt_kernels;

// The references.
#define X(op) zt_##op##_fn zt_##op##_c;
ZT_OPS(X)
#undef X

#ifdef __cplusplus
}
#endif
