// SPDX-License-Identifier: Apache-2.0
// What the machine can do at most: loops of one instruction on 24 independent registers, and of nothing but loads.
#include <string.h>

#include "apps/bench.h"
#include "base/base.h"
#include "base/clock.h"
#include "kernels/device.h"

#define LOOPS 200000        // about 2 ms
#define TIMES 7

struct peak {
    void (*loop)(int64_t n);
    int64_t each;           // operations per round of the loop
};

#if defined(__x86_64__)

// Twelve registers are enough for 256-bit code, which has 16; 24 for 512-bit code, which has 32.
#define X12(i, v) i v "0\n" i v "1\n" i v "2\n" i v "3\n" i v "4\n" i v "5\n" i v "6\n" i v "7\n" i v "8\n" i v "9\n" i v "10\n" i v "11\n"
#define X24(i, v) X12(i, v) i v "12\n" i v "13\n" i v "14\n" i v "15\n" i v "16\n" i v "17\n" i v "18\n" i v "19\n" i v "20\n" \
    i v "21\n" i v "22\n" i v "23\n"
#define ROUNDS(body) __asm__ volatile("1:\n" body "dec %0\njnz 1b\n" : "+r"(n) : : "cc", "memory", USED)
#define USED "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", \
    "xmm14", "xmm15"

// Registers 16 to 31 are used too; nothing here lives in them, and no caller expects them to be kept.
__attribute__((target("avx512f"))) static void loop_f32_512(int64_t n)
{
    ROUNDS(X24("vfmadd231ps %%zmm30, %%zmm31, %%", "zmm"));
    __asm__ volatile("vzeroupper");
}

__attribute__((target("avx512f"))) static void loop_bf16_512(int64_t n)
{
    ROUNDS(X24("vdpbf16ps %%zmm30, %%zmm31, %%", "zmm"));
    __asm__ volatile("vzeroupper");
}

__attribute__((target("avx512f"))) static void loop_i8_512(int64_t n)
{
    ROUNDS(X24("vpdpbusd %%zmm30, %%zmm31, %%", "zmm"));
    __asm__ volatile("vzeroupper");
}

__attribute__((target("avx2"))) static void loop_f32_256(int64_t n)
{
    ROUNDS(X12("vfmadd231ps %%ymm14, %%ymm15, %%", "ymm"));
    __asm__ volatile("vzeroupper");
}

// There is no dot product of bytes: products of 16-bit pairs, then a sum.
#define PAIR(t, a) "vpmaddwd %%ymm14, %%ymm15, %%ymm" t "\nvpaddd %%ymm" t ", %%ymm" a ", %%ymm" a "\n"
__attribute__((target("avx2"))) static void loop_i16_256(int64_t n)
{
    ROUNDS(PAIR("6", "0") PAIR("7", "1") PAIR("8", "2") PAIR("9", "3") PAIR("10", "4") PAIR("11", "5"));
    __asm__ volatile("vzeroupper");
}
#undef PAIR

static const struct peak avx512[ZT_PEAKS] = { { loop_f32_512, 24 * 32 }, { loop_bf16_512, 24 * 64 }, { loop_i8_512, 24 * 128 } };
// bf16 is widened and multiplied as f32.
static const struct peak avx2[ZT_PEAKS] = { { loop_f32_256, 12 * 16 }, { loop_f32_256, 12 * 16 }, { loop_i16_256, 6 * 32 } };

#undef X12
#undef X24
#undef ROUNDS
#undef USED

static const struct peak *find_peak(const char *level, enum zt_peak p)
{
    return !strcmp(level, "avx512") ? &avx512[p] : !strcmp(level, "avx2") ? &avx2[p] : NULL;
}

#else

static const struct peak *find_peak(const char *level, enum zt_peak p)
{
    (void)level, (void)p;
    return NULL;
}

#endif

static void one_thread(void *cookie, int i, int thread)
{
    const struct peak *p = cookie;
    (void)i, (void)thread;
    p->loop(LOOPS);
}

double zt_bench_peak(zt_device *d, enum zt_peak kind)
{
    const struct peak *p = find_peak(d->level, kind);
    if (!p || !p->loop)
        return 0;
    int64_t best = INT64_MAX;
    for (int i = 0; i < TIMES; i++) {
        const int64_t before = zt_now();
        zt_parallel_for(d, d->threads, one_thread, (void *)p);
        best = ZT_MIN(best, zt_now() - before);
    }
    return (double)p->each * LOOPS * d->threads / ((double)best / (double)ZT_S);
}

double zt_bench_pass_limit(zt_device *d, const zt_model_info *info)
{
    const enum zt_peak matrices = info->precision == ZT_PRECISION_F32   ? ZT_PEAK_F32
                                : info->precision >= ZT_PRECISION_INT8 ? ZT_PEAK_I8
                                                                       : ZT_PEAK_BF16;
    const enum zt_peak keys = info->kv == ZT_F32 ? ZT_PEAK_F32 : info->kv == ZT_I8 ? ZT_PEAK_I8 : ZT_PEAK_BF16;
    const double of_matrices = zt_bench_peak(d, matrices), of_keys = zt_bench_peak(d, keys);
    if (of_matrices <= 0 || of_keys <= 0)
        return 0;
    return ((double)info->linear_ops / of_matrices + (double)info->attention_ops / of_keys) * (double)ZT_S;
}

// A word of each line: whole lines come.
void zt_bench_read(const void *p, size_t bytes)
{
    enum { LINE = 64 / sizeof(uint64_t), AHEAD = 32 * LINE };
    const uint64_t *from = p, *const end = from + bytes / 64 * LINE;
    uint64_t a = 0, b = 0;
    for (; from + LINE < end; from += 2 * LINE) {
        __builtin_prefetch(from + AHEAD);
        __builtin_prefetch(from + AHEAD + LINE);
        a ^= from[0];
        b ^= from[LINE];
    }
    __asm__ volatile("" : : "r"(a ^ b));        // or else nothing would be read
}
