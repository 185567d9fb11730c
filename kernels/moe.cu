// SPDX-License-Identifier: Apache-2.0
// moe on any CUDA device of 8.0 or later: correct first.
//
// A warp routes a row; one block sorts the rows by expert, in their order, and cuts them into tiles of one expert; two
// products go over the tiles, the first with SiLU(w1 x) * (w3 x) as its end, for a thread has both; at last each row gathers
// what its experts made, in rank order. The shared expert is one more expert, that every row goes to. Bound as linear is.
// First version.
#include "kernels/product.cuh"

enum { ROUTERS = 4, SORTERS = 256 };    // rows that a block routes; threads that sort

// An expert, as the device reads it.
struct expert {
    zt_words up, down;
    int      inner;             // K of down
};

// Up to 64 rows of one expert; rows of the sorted order.
struct tile {
    int expert, first, rows;
};

struct room {
    expert  *experts;           // E, and the shared one
    int32_t *choice;            // [M][k]
    float   *gate;              // [M][k]
    int32_t *source, *place;    // row of x of each sorted row; sorted row of [M][k + 1]
    tile    *tiles;
    float   *hidden, *y;        // [rows][inner], [rows][C]
    void    *x_words, *h_words;
    int      rows, count, inner, ranks;     // sorted rows; tiles; the widest; ranks of a row
    bool     uneven;            // some experts are narrower
};

static room lay_out(zt_carver *c, const zt_moe *w, int M, int C)
{
    room r;
    const enum zt_type type = w->up[0].type;
    const bool shared = w->shared_up != NULL;
    r.inner = shared ? w->shared_down->K : 0;
    for (int e = 0; e < w->E; e++)
        r.inner = w->down[e].K > r.inner ? w->down[e].K : r.inner;
    r.uneven = shared && w->shared_down->K < r.inner;
    for (int e = 0; e < w->E; e++)
        r.uneven |= w->down[e].K < r.inner;
    r.ranks = w->k + shared;
    r.rows = M * r.ranks;
    r.count = r.rows / ZT_PRODUCT_ROWS + w->E + 1;
    r.experts = c->take<expert>((size_t)w->E + 1);
    r.choice = c->take<int32_t>((size_t)M * (size_t)w->k);
    r.gate = c->take<float>((size_t)M * (size_t)w->k);
    r.source = c->take<int32_t>((size_t)r.rows);
    r.place = c->take<int32_t>((size_t)r.rows);
    r.tiles = c->take<tile>((size_t)r.count);
    r.hidden = c->take<float>((size_t)r.rows * (size_t)r.inner);
    r.y = c->take<float>((size_t)r.rows * (size_t)C);
    r.x_words = c->take<char>(zt_operand_bytes(type, M, C));
    r.h_words = c->take<char>(zt_operand_bytes(type, r.rows, r.inner));
    return r;
}

struct routing {
    int            E, k, groups, limited, C, M;
    enum zt_score  score;
    float          scale;
    const float   *w, *b;
    int32_t       *choice, *topk;
    float         *gate, *gates;
};

// The best of a lane's and of the others': the larger, the lower index of equals.
static __device__ void warp_best(float *v, int *at)
{
    for (int i = 16; i > 0; i /= 2) {
        const float other = __shfl_xor_sync(0xffffffffu, *v, i);
        const int index = __shfl_xor_sync(0xffffffffu, *at, i);
        if (other > *v || (other == *v && index < *at)) {
            *v = other;
            *at = index;
        }
    }
}

// The index of the largest of v[0..n); the lowest of equals.
static __device__ int best_of(const float *v, int n)
{
    const int lane = (int)threadIdx.x % ZT_WARP;
    float best = -INFINITY;
    int at = lane < n ? lane : n;
    for (int i = lane; i < n; i += ZT_WARP) {
        if (v[i] > best) {
            best = v[i];
            at = i;
        }
    }
    warp_best(&best, &at);
    return at;
}

// s[e] of the row, to where all lanes see it.
static __device__ void score_row(const routing &r, const float *x, float *s)
{
    const int lane = (int)threadIdx.x % ZT_WARP;
    float most = -INFINITY, total = 0;
    for (int e = 0; e < r.E; e++) {
        float sum = 0;
        for (int c = lane; c < r.C; c += ZT_WARP)
            sum += x[c] * r.w[(int64_t)e * r.C + c];
        sum = zt_warp_sum(sum);
        most = fmaxf(most, sum);
        if (lane == 0)
            s[e] = sum;
    }
    __syncwarp();
    for (int e = lane; e < r.E; e += ZT_WARP) {
        s[e] = r.score == ZT_SIGMOID ? 1 / (1 + expf(-s[e])) : expf(s[e] - most);
        total += s[e];
    }
    total = zt_warp_sum(total);
    for (int e = lane; e < r.E && r.score == ZT_SOFTMAX; e += ZT_WARP)
        s[e] /= total;
    __syncwarp();
}

// -infinity to the experts of all but the `limited` best groups; a lane has whole groups. mark: room for groups.
static __device__ void limit_groups(const routing &r, float *s, float *mark)
{
    const int lane = (int)threadIdx.x % ZT_WARP, size = r.E / r.groups;
    for (int g = lane; g < r.groups; g += ZT_WARP) {
        float first = -INFINITY, second = -INFINITY;
        for (int i = 0; i < size; i++) {
            const float v = s[g * size + i];
            second = fmaxf(second, fminf(first, v));
            first = fmaxf(first, v);
        }
        mark[g] = r.b && size > 1 ? first + second : first;
    }
    __syncwarp();
    for (int i = 0; i < r.limited; i++) {
        const int g = best_of(mark, r.groups);
        __syncwarp();
        if (lane == 0)
            mark[g] = NAN;                  // kept, and never the best again
        __syncwarp();
    }
    for (int e = lane; e < r.E; e += ZT_WARP)
        s[e] = isnan(mark[e / size]) ? s[e] : -INFINITY;
    __syncwarp();
}

// A warp a row. Shared: s, biased and mark [E] of each warp.
static __global__ void route(zt_tensor x, routing r)
{
    const int warp = (int)threadIdx.x / ZT_WARP, lane = (int)threadIdx.x % ZT_WARP, m = (int)blockIdx.x * ROUTERS + warp;
    if (m >= r.M)
        return;
    float *const s = zt_shared<float>() + warp * 3 * r.E, *const biased = s + r.E, *const mark = biased + r.E;
    score_row(r, (const float *)x.data + m * x.step[2], s);
    for (int e = lane; e < r.E; e += ZT_WARP)
        biased[e] = r.b ? s[e] + r.b[e] : s[e];
    __syncwarp();
    if (r.groups > 1)
        limit_groups(r, biased, mark);
    float total = 0, gate = 0;
    int choice = 0;                         // of rank `lane`
    for (int i = 0; i < r.k; i++) {
        const int e = best_of(biased, r.E);
        total += s[e];
        if (lane == i) {
            choice = e;
            gate = s[e];
        }
        __syncwarp();
        if (lane == 0)
            biased[e] = -INFINITY;
        __syncwarp();
    }
    if (lane >= r.k)
        return;
    gate *= r.score == ZT_SIGMOID ? r.scale / total : r.scale;
    const int64_t at = (int64_t)m * r.k + lane;
    r.choice[at] = choice;
    r.gate[at] = gate;
    if (r.topk)
        r.topk[at] = choice;
    if (r.gates)
        r.gates[at] = gate;
}

// Where the rows of each expert begin, and the tiles.
static __device__ void cut_tiles(const room &r, int *first, int E)
{
    int tiles = 0;
    first[0] = 0;
    for (int e = 0; e <= E; e++) {
        first[e + 1] += first[e];
        for (int at = first[e]; at < first[e + 1]; at += ZT_PRODUCT_ROWS) {
            const int left = first[e + 1] - at;
            const tile t = { e, at, left < ZT_PRODUCT_ROWS ? left : ZT_PRODUCT_ROWS };
            r.tiles[tiles++] = t;
        }
    }
    for (; tiles < r.count; tiles++)
        r.tiles[tiles].rows = 0;
}

// One block; a thread counts an expert's rows, then places them in order. The last "expert" is the shared one. Shared memory:
// [E + 2].
static __global__ void sort(room r, int M, int E, int k)
{
    int *const first = zt_shared<int>();
    const int entries = M * k;
    for (int e = (int)threadIdx.x; e <= E; e += (int)blockDim.x) {
        int n = e < E ? 0 : (r.ranks - k) * M;
        for (int i = 0; i < entries && e < E; i++)
            n += r.choice[i] == e;
        first[e + 1] = n;
    }
    __syncthreads();
    if (threadIdx.x == 0)
        cut_tiles(r, first, E);
    __syncthreads();
    for (int e = (int)threadIdx.x; e <= E; e += (int)blockDim.x) {
        int at = first[e];
        for (int i = 0; i < entries && e < E; i++) {
            if (r.choice[i] != e)
                continue;
            r.place[(int64_t)(i / k) * r.ranks + i % k] = at;
            r.source[at++] = i / k;
        }
        for (int m = 0; m < M && e == E && r.ranks > k; m++) {
            r.place[(int64_t)m * r.ranks + k] = at;
            r.source[at++] = m;
        }
    }
}

// Rows of a tile: of an operand, by index or in their own order.
struct tile_rows {
    zt_operand     x;
    const int32_t *source;
    int            first, rows;

    __device__ int row(int i) const { return source ? source[first + i] : first + i; }
    __device__ uint32_t at(int i, int w) const { return i < rows ? x.at(row(i), w) : 0; }
    __device__ float scale(int i) const { return x.scale ? x.scale[row(i)] : 1; }
};

template <class Math> static __global__ void go_up(zt_operand x, room r, int words)
{
    const tile t = r.tiles[blockIdx.y];         // of no rows beyond the last one
    const expert *const e = &r.experts[t.expert];
    const int m0 = zt_warp_row(), n0 = (int)blockIdx.x * ZT_PRODUCT_COLUMNS + zt_warp_column();
    if (m0 >= t.rows || n0 >= e->up.N)
        return;
    const tile_rows rows = { x, r.source, t.first, t.rows };
    typename Math::sum sum[2][4][4] = { { { 0 } } };
    zt_product<Math>(sum, rows, e->up, m0, n0, words);
    const int lane = (int)threadIdx.x % ZT_WARP;
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 2; j++)                     // of 32 columns the first 16 are w1's, the others w3's
            for (int c = 0; c < 4; c++) {
                const int m = m0 + 16 * i + lane / 4 + c / 2 * 8, n = n0 + 8 * j + lane % 4 * 2 + c % 2;
                if (m >= t.rows)
                    continue;
                const float s = rows.scale(m), u = zt_scaled(e->up, sum[i][j][c], s, n), v = zt_scaled(e->up, sum[i][j + 2][c], s, n + 16);
                r.hidden[(int64_t)(t.first + m) * r.inner + n / 32 * 16 + n % 16] = zt_activate(ZT_ACT_SILU, u) * v;
            }
}

template <class Math> static __global__ void go_down(zt_operand h, room r, int C)
{
    const tile t = r.tiles[blockIdx.y];         // of no rows beyond the last one
    const expert *const e = &r.experts[t.expert];
    const int m0 = zt_warp_row(), n0 = (int)blockIdx.x * ZT_PRODUCT_COLUMNS + zt_warp_column();
    if (m0 >= t.rows || n0 >= C)
        return;
    const tile_rows rows = { h, NULL, t.first, t.rows };
    typename Math::sum sum[2][4][4] = { { { 0 } } };
    zt_product<Math>(sum, rows, e->down, m0, n0, (e->inner + Math::P - 1) / Math::P);
    zt_each(sum, m0, n0, [&](int m, int n, typename Math::sum s) {
        if (m < t.rows && n < C)
            r.y[(int64_t)(t.first + m) * C + n] = zt_scaled(e->down, s, rows.scale(m), n);
    });
}

// What narrower experts leave of the hidden rows is quantised with them.
static __global__ void clear(float *to, int64_t n)
{
    const int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x;
    if (i < n)
        to[i] = 0;
}

static __global__ void gather(room r, zt_finish out, int M, int C, int k)
{
    const int64_t at = blockIdx.x * (int64_t)blockDim.x + threadIdx.x;
    if (at >= (int64_t)M * C)
        return;
    const int m = (int)(at / C), c = (int)(at % C);
    const int32_t *const place = r.place + (int64_t)m * r.ranks;
    float f = r.ranks > k ? r.y[(int64_t)place[k] * C + c] : 0;
    for (int i = 0; i < k; i++)
        f += r.gate[(int64_t)m * k + i] * r.y[(int64_t)place[i] * C + c];
    out.store(m, c, f);
}

static void put_experts(struct zt_device *d, expert *to, const zt_moe *w)
{
    expert some[16];
    const int all = w->E + (w->shared_up != NULL);
    for (int from = 0; from < all; from += 16) {
        const int n = all - from < 16 ? all - from : 16;
        for (int i = 0; i < n; i++) {
            const bool own = from + i < w->E;
            const zt_matrix *const down = own ? &w->down[from + i] : w->shared_down;
            some[i].up = zt_words_of(own ? &w->up[from + i] : w->shared_up);
            some[i].down = zt_words_of(down);
            some[i].inner = down->K;
        }
        zt_cuda_put(d, to + from, some, sizeof(expert) * (size_t)n);
    }
}

template <class Math> static void multiply(struct zt_device *d, const room &r, zt_tensor x, enum zt_type type, int widest)
{
    const zt_operand in = zt_pack_rows(d, r.x_words, x, type);
    const int C = x.n[3];
    const dim3 up((unsigned)zt_blocks(widest, ZT_PRODUCT_COLUMNS), (unsigned)r.count);
    const dim3 down((unsigned)zt_blocks(C, ZT_PRODUCT_COLUMNS), (unsigned)r.count);
    ZT_LAUNCH(d, go_up<Math>, up, ZT_PRODUCT_THREADS, 0, in, r, in.words);
    const zt_operand h = zt_pack_rows(d, r.h_words, zt_tensor_2d(r.hidden, ZT_F32, r.rows, r.inner), type);
    ZT_LAUNCH(d, go_down<Math>, down, ZT_PRODUCT_THREADS, 0, h, r, C);
}

extern "C" void zt_moe_cuda(struct zt_device *d, zt_tensor out, zt_tensor x, const zt_moe *w, const zt_epilogue *e)
{
    const int M = x.n[2], C = x.n[3];
    zt_carver size = { NULL, 0 };
    lay_out(&size, w, M, C);
    zt_carver memory = { (char *)zt_cuda_scratch(d, size.used), 0 };
    if (!memory.base)
        return;
    const room r = lay_out(&memory, w, M, C);
    put_experts(d, r.experts, w);
    const routing to = { w->E, w->k, w->groups, w->limited, C, M, w->score, w->route_scale, w->gate_w, w->gate_b, r.choice,
                         w->topk, r.gate, w->gates };
    ZT_LAUNCH(d, route, zt_blocks(M, ROUTERS), ROUTERS * ZT_WARP, (size_t)(ROUTERS * 3 * w->E) * sizeof(float), x, to);
    ZT_LAUNCH(d, sort, 1, SORTERS, (size_t)(w->E + 2) * sizeof(int), r, M, w->E, w->k);
    if (r.uneven)
        ZT_LAUNCH(d, clear, zt_blocks((int64_t)r.rows * r.inner, 256), 256, 0, r.hidden, (int64_t)r.rows * r.inner);
    const enum zt_type type = w->up[0].type;
    if (type == ZT_F32)
        multiply<zt_math_f32>(d, r, x, type, 2 * r.inner);
    else if (type == ZT_BF16)
        multiply<zt_math_bf16>(d, r, x, type, 2 * r.inner);
    else
        multiply<zt_math_s8>(d, r, x, type, 2 * r.inner);
    const zt_finish f = { (float *)out.data, out.step[2], *e };
    ZT_LAUNCH(d, gather, zt_blocks((int64_t)M * C, 256), 256, 0, r, f, M, C, w->k);
}
