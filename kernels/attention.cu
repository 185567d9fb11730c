// SPDX-License-Identifier: Apache-2.0
// attention on any CUDA device of 8.0 or later: correct first.
//
// A warp has 16 queries of one head and goes over the keys twice: for the largest logit of each query, then for the sums, so
// that probabilities are what the contract says whatever comes later. Caches are laid out in the words of mma.sync's
// fragments (product.cuh) and read straight from memory; no shared memory, no barrier. Bound by loads from the first cache
// and by QK being made twice: 6 M keys D operations a head instead of 4. First version.
#include "kernels/product.cuh"

enum { WARPS = 4, QUERIES = 16 * WARPS, KEYS = 32 };    // queries of a block; keys of a step

// A span, as the device reads it.
struct span {
    int            row0, rows, n, keys, valid;
    const uint32_t *k, *v;
    const float   *scale;
    const int     *slot;
    const float   *bias;
};

struct job {
    const span     *spans;
    zt_tensor       out, q;
    const uint32_t *words;          // of q, as they are multiplied: [M][H][D / P]
    const float    *q_scale;        // [M][H]; I8: what one of the integers is worth, over sqrt(D)
    int             H, D;
};

// q / sqrt(D) as floats of the type, or quantised: a warp a head of a row.
template <int P> static __global__ void load_queries(uint32_t *words, float *scale, zt_tensor q, int H, int D)
{
    const int64_t at = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) / ZT_WARP;
    const int lane = (int)threadIdx.x % ZT_WARP;
    if (at >= (int64_t)q.n[2] * H)
        return;
    const float *const from = (const float *)q.data + at / H * q.step[2] + at % H * D;
    uint32_t *const to = words + at * (D / P);
    const float root = sqrtf((float)D);
    float largest = 0, s = 0;
    for (int i = lane; i < D && P == 4; i += ZT_WARP)
        largest = fmaxf(largest, fabsf(from[i]));
    const float inverse = zt_quantiser(zt_warp_max(largest), &s);
    for (int w = lane; w < D / P; w += ZT_WARP) {
        uint32_t word = 0;
        if (P == 1)
            word = __float_as_uint(from[w] / root);
        else if (P == 2)
            word = zt_to_bf16(from[2 * w] / root) | zt_to_bf16(from[2 * w + 1] / root) << 16;
        for (int i = 0; i < 4 && P == 4; i++)
            word |= (uint32_t)(zt_quantise(from[4 * w + i], inverse) & 0xff) << 8 * i;
        to[w] = word;
    }
    if (lane == 0)
        scale[at] = s / root;
}

// What a type of cache asks for: logits from the sums of QK, probabilities as operands, the product with V.
struct math_f32 : zt_math_f32 {
    static __device__ uint32_t key(uint32_t word) { return word; }
    static __device__ float probability(float p) { return p; }
    // Words of 8 keys from a tile of logits: word w is key w, which lane w / 2 of the four has.
    static __device__ void pack(uint32_t a[4], const float p[4][4], int step)
    {
        const int lane = (int)threadIdx.x % ZT_WARP, t = lane % 4, first = lane - t;
        #pragma unroll
        for (int r = 0; r < 4; r++) {
            const int from = first + (t + r / 2 * 4) / 2;
            const float even = __shfl_sync(0xffffffffu, p[step][r % 2 * 2], from);
            const float odd = __shfl_sync(0xffffffffu, p[step][r % 2 * 2 + 1], from);
            a[r] = __float_as_uint(t % 2 ? odd : even);
        }
    }
};

struct math_bf16 : zt_math_bf16 {
    static __device__ uint32_t key(uint32_t word) { return word; }
    static __device__ float probability(float p) { return p; }
    // 16 keys: two tiles of logits are laid out as their words.
    static __device__ void pack(uint32_t a[4], const float p[4][4], int step)
    {
        #pragma unroll
        for (int r = 0; r < 4; r++) {
            const float *const two = p[2 * step + r / 2] + r % 2 * 2;
            a[r] = zt_to_bf16(two[0]) | zt_to_bf16(two[1]) << 16;
        }
    }
};

struct math_i8 : zt_math_s8 {
    static __device__ uint32_t key(uint32_t word) { return word ^ 0x80808080u; }
    static __device__ float probability(float p) { return rintf(255 * p); }
    // 32 keys. A lane has keys 2 t, 2 t + 1 of four tiles; word t holds keys 4 t .. 4 t + 3, which are those of lanes 2 t % 4
    // and the next in tile t / 2.
    static __device__ void pack(uint32_t a[4], const float p[4][4], int step)
    {
        const int lane = (int)threadIdx.x % ZT_WARP, t = lane % 4, from = lane - t + 2 * (t % 2);
        (void)step;
        #pragma unroll
        for (int r = 0; r < 4; r++) {
            uint32_t pairs = 0;                     // of the two tiles that hold this half of the keys
            #pragma unroll
            for (int i = 0; i < 4; i++)
                pairs |= (uint32_t)p[r / 2 * 2 + i / 2][r % 2 * 2 + i % 2] << 8 * i;
            const uint32_t left = __shfl_sync(0xffffffffu, pairs, from), right = __shfl_sync(0xffffffffu, pairs, from + 1);
            const int shift = t / 2 * 16;
            a[r] = (left >> shift & 0xffff) | (right >> shift & 0xffff) << 16;
        }
    }
};

static __device__ inline void multiply_v(math_f32, float *c, const uint32_t *a, const uint32_t *b) { zt_mma_f32(c, a, b); }
static __device__ inline void multiply_v(math_bf16, float *c, const uint32_t *a, const uint32_t *b) { zt_mma_bf16(c, a, b); }
static __device__ inline void multiply_v(math_i8, int *c, const uint32_t *a, const uint32_t *b) { zt_mma_u8(c, a, b); }

// One warp's place: its 16 queries, the lane's two rows g and g + 8.
struct place {
    int  h, g, t;
    int  row[2];                    // of q; clamped, so that they can be read
    bool there[2];
};

// A slot's keys and values of one head.
struct part {
    const uint32_t *k, *v;
    const float    *scale;          // I8
    const float    *bias;
    int             keys, valid;
    float           common[2];      // q . mean / sqrt(D) of the lane's rows; I8
};

static __device__ inline float quad_sum(float v)
{
    v += __shfl_xor_sync(0xffffffffu, v, 1);
    return v + __shfl_xor_sync(0xffffffffu, v, 2);
}

template <class Math> static __device__ part part_of(const job &j, const span &s, const place &at, int i)
{
    const int P = Math::P, slot = s.slot[i];
    const int64_t words = (int64_t)s.keys * (j.D / P), head = (int64_t)slot * j.H + at.h;
    part p = { s.k + head * words, s.v + head * words, NULL, s.bias ? s.bias + (int64_t)i * s.valid : NULL, s.keys, s.valid, { 0, 0 } };
    if (P < 4)
        return p;
    p.scale = s.scale + head * (2 * j.D + 16);
    #pragma unroll
    for (int r = 0; r < 2; r++) {
        const float *const q = (const float *)j.q.data + at.row[r] * j.q.step[2] + at.h * j.D;
        float sum = 0;
        for (int c = at.t; c < j.D; c += 4)
            sum += q[c] * p.scale[c];
        p.common[r] = quad_sum(sum) / sqrtf((float)j.D);
    }
    return p;
}

static __device__ inline float to_logit(float sum, float, float) { return sum; }
static __device__ inline float to_logit(int sum, float scale, float common) { return (float)sum * scale + common; }

// Logits of the lane's rows with keys [key0, key0 + 32); -infinity where there is no key.
template <class Math> static __device__ void logits(float l[4][4], const job &j, const place &at, const part &p, int key0)
{
    const int P = Math::P, words = j.D / P;
    typename Math::sum sum[4][4] = { { 0 } };
    const uint32_t *q[2];
    float scale[2];
    #pragma unroll
    for (int r = 0; r < 2; r++) {
        const int64_t head = (int64_t)at.row[r] * j.H + at.h;
        q[r] = j.words + head * words;
        scale[r] = P == 4 ? j.q_scale[head] * p.scale[2 * j.D] : 1;
    }
    for (int w = 0; w < words; w += 8) {
        uint32_t a[4];
        #pragma unroll
        for (int r = 0; r < 4; r++)
            a[r] = w + at.t + r / 2 * 4 < words ? q[r % 2][w + at.t + r / 2 * 4] : 0;
        #pragma unroll
        for (int i = 0; i < 4; i++) {
            const int key = key0 + 8 * i + at.g;
            uint32_t b[2];
            #pragma unroll
            for (int r = 0; r < 2; r++) {
                const int word = w + at.t + r * 4;
                b[r] = key < p.keys && word < words ? Math::key(p.k[((int64_t)(key / 16) * words + word) * 16 + key % 16]) : 0;
            }
            Math::mma(sum[i], a, b);
        }
    }
    #pragma unroll
    for (int i = 0; i < 4; i++) {
        #pragma unroll
        for (int r = 0; r < 4; r++) {
            const int key = key0 + 8 * i + 2 * at.t + r % 2;
            const bool there = key < p.valid;
            const float logit = to_logit(sum[i][r], scale[r / 2], p.common[r / 2]);
            l[i][r] = !there ? -INFINITY : p.bias ? logit + p.bias[key] : logit;
        }
    }
}

// acc[i] += probabilities of 32 keys times values of dims [8 i, 8 i + 8)
template <class Math, int TILES>
static __device__ void add_values(typename Math::sum acc[TILES][4], const job &j, const place &at, const part &p, int key0,
                                  const float l[4][4])
{
    const int P = Math::P, steps = KEYS / (8 * P);
    #pragma unroll
    for (int step = 0; step < steps; step++) {
        uint32_t a[4];
        Math::pack(a, l, step);
        const int word0 = key0 / P + 8 * step + at.t;
        #pragma unroll
        for (int i = 0; i < TILES; i++) {
            if (8 * i >= j.D)
                break;
            uint32_t b[2];
            #pragma unroll
            for (int r = 0; r < 2; r++) {
                const int word = word0 + 4 * r;
                b[r] = word * P < p.keys ? p.v[(int64_t)word * j.D + 8 * i + at.g] : 0;
            }
            multiply_v(Math(), acc[i], a, b);
        }
    }
}

template <int TILES> static __device__ void add_slot(float out[TILES][4], float acc[TILES][4], const job &, const place &, const part &)
{
    #pragma unroll
    for (int i = 0; i < TILES; i++)
        #pragma unroll
        for (int r = 0; r < 4; r++) {
            out[i][r] += acc[i][r];
            acc[i][r] = 0;
        }
}

template <int TILES> static __device__ void add_slot(float out[TILES][4], int acc[TILES][4], const job &j, const place &at, const part &p)
{
    #pragma unroll
    for (int i = 0; i < TILES; i++)
        #pragma unroll
        for (int r = 0; r < 4; r++) {
            const int c = 8 * i + 2 * at.t + r % 2;
            out[i][r] += c < j.D ? (float)acc[i][r] * p.scale[j.D + c] : 0;
            acc[i][r] = 0;
        }
}

static __device__ inline float quad_max(float v)
{
    v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 1));
    return fmaxf(v, __shfl_xor_sync(0xffffffffu, v, 2));
}

template <class Math> static __device__ void find_largest(float most[2], const job &j, const span &s, const place &at)
{
    most[0] = most[1] = -INFINITY;
    for (int i = 0; i < s.n; i++) {
        const part p = part_of<Math>(j, s, at, i);
        for (int key = 0; key < s.valid; key += KEYS) {
            float l[4][4];
            logits<Math>(l, j, at, p, key);
            #pragma unroll
            for (int n = 0; n < 4; n++)
                #pragma unroll
                for (int r = 0; r < 4; r++)
                    most[r / 2] = fmaxf(most[r / 2], l[n][r]);
        }
    }
    #pragma unroll
    for (int r = 0; r < 2; r++)
        most[r] = quad_max(most[r]);
}

template <class Math, int TILES> static __global__ void attend(job j)
{
    const span s = j.spans[blockIdx.z];
    const int lane = (int)threadIdx.x % ZT_WARP, first = (int)blockIdx.x * QUERIES + (int)threadIdx.x / ZT_WARP * 16;
    if (first >= s.rows)
        return;
    place at = { (int)blockIdx.y, lane / 4, lane % 4 };
    #pragma unroll
    for (int r = 0; r < 2; r++) {
        const int row = first + at.g + 8 * r;
        at.there[r] = row < s.rows;
        at.row[r] = s.row0 + (at.there[r] ? row : s.rows - 1);
    }
    float most[2], total[2] = { 0, 0 }, out[TILES][4] = { { 0 } };
    typename Math::sum acc[TILES][4] = { { 0 } };
    find_largest<Math>(most, j, s, at);
    for (int i = 0; i < s.n; i++) {
        const part p = part_of<Math>(j, s, at, i);
        for (int key = 0; key < s.valid; key += KEYS) {
            float l[4][4];
            logits<Math>(l, j, at, p, key);
            #pragma unroll
            for (int n = 0; n < 4; n++)
                #pragma unroll
                for (int r = 0; r < 4; r++) {
                    l[n][r] = Math::probability(expf(l[n][r] - most[r / 2]));
                    total[r / 2] += l[n][r];
                }
            add_values<Math, TILES>(acc, j, at, p, key, l);
        }
        add_slot<TILES>(out, acc, j, at, p);
    }
    #pragma unroll
    for (int r = 0; r < 2; r++)
        total[r] = quad_sum(total[r]);
    #pragma unroll
    for (int i = 0; i < TILES; i++)
        #pragma unroll
        for (int r = 0; r < 4; r++) {
            const int c = 8 * i + 2 * at.t + r % 2;
            if (c < j.D && at.there[r / 2])
                ((float *)j.out.data)[at.row[r / 2] * j.out.step[2] + at.h * j.D + c] = out[i][r] / total[r / 2];
        }
}

template <class Math> static void run(struct zt_device *d, const job &j, dim3 grid)
{
    if (j.D <= 64)
        ZT_LAUNCH(d, (attend<Math, 8>), grid, WARPS * ZT_WARP, 0, j);
    else if (j.D <= 128)
        ZT_LAUNCH(d, (attend<Math, 16>), grid, WARPS * ZT_WARP, 0, j);
    else
        ZT_LAUNCH(d, (attend<Math, 32>), grid, WARPS * ZT_WARP, 0, j);
}

enum { SPANS = 64 };

// What a call works in.
struct room {
    span     *spans;
    int      *slot;
    uint32_t *words;
    float    *scale;
};

static room lay_out(zt_carver *c, int slots, int64_t heads, int words)
{
    room r;
    r.spans = c->take<span>(SPANS);
    r.slot = c->take<int>((size_t)slots);
    r.words = c->take<uint32_t>((size_t)(heads * words));
    r.scale = c->take<float>((size_t)heads);
    return r;
}

// The most rows of a span.
static int put_spans(struct zt_device *d, const room &r, const zt_span *from, int n)
{
    span list[SPANS];
    int rows = 0;
    for (int i = 0, at = 0; i < n; at += from[i++].n) {
        const zt_kv *const kv = from[i].kv;
        list[i].row0 = from[i].row0, list[i].rows = from[i].rows, list[i].n = from[i].n;
        list[i].keys = kv->keys, list[i].valid = kv->valid;
        list[i].k = (const uint32_t *)kv->k, list[i].v = (const uint32_t *)kv->v;
        list[i].scale = kv->scale, list[i].bias = from[i].bias;
        list[i].slot = r.slot + at;
        zt_cuda_put(d, r.slot + at, from[i].slot, sizeof(int) * (size_t)from[i].n);
        rows = from[i].rows > rows ? from[i].rows : rows;
    }
    zt_cuda_put(d, r.spans, list, sizeof(span) * (size_t)n);
    return rows;
}

// Spans of one shape of cache, together.
static void attend_spans(struct zt_device *d, zt_tensor out, zt_tensor q, const zt_span *from, int n)
{
    const zt_kv *const kv = from->kv;
    const int P = 4 / (int)zt_type_bytes(kv->type), H = kv->H, D = kv->D;
    const int64_t heads = (int64_t)q.n[2] * H;
    int slots = 0;
    for (int i = 0; i < n; i++)
        slots += from[i].n;
    zt_carver size = { NULL, 0 };
    lay_out(&size, slots, heads, D / P);
    zt_carver memory = { (char *)zt_cuda_scratch(d, size.used), 0 };
    if (!memory.base)
        return;
    const room r = lay_out(&memory, slots, heads, D / P);
    const int rows = put_spans(d, r, from, n), blocks = zt_blocks(heads, WARPS);
    const job j = { r.spans, out, q, r.words, r.scale, H, D };
    const dim3 grid((unsigned)zt_blocks(rows, QUERIES), (unsigned)H, (unsigned)n);
    if (P == 1) {
        ZT_LAUNCH(d, load_queries<1>, blocks, WARPS * ZT_WARP, 0, r.words, r.scale, q, H, D);
        run<math_f32>(d, j, grid);
    } else if (P == 2) {
        ZT_LAUNCH(d, load_queries<2>, blocks, WARPS * ZT_WARP, 0, r.words, r.scale, q, H, D);
        run<math_bf16>(d, j, grid);
    } else {
        ZT_LAUNCH(d, load_queries<4>, blocks, WARPS * ZT_WARP, 0, r.words, r.scale, q, H, D);
        run<math_i8>(d, j, grid);
    }
}

extern "C" void zt_attention_cuda(struct zt_device *d, zt_tensor out, zt_tensor q, const zt_span *span, int n)
{
    for (int i = 0, m; i < n; i += m) {
        const zt_kv *const kv = span[i].kv;
        if (kv->D % 8 || kv->D > 256) {
            zt_cuda_refuse(d, "heads that are no multiple of 8 or wider than 256");
            return;
        }
        for (m = 1; i + m < n && m < SPANS; m++) {
            const zt_kv *const other = span[i + m].kv;
            if (other->type != kv->type || other->H != kv->H || other->D != kv->D)
                break;
        }
        attend_spans(d, out, q, span + i, m);
    }
}
