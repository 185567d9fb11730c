// SPDX-License-Identifier: Apache-2.0
//
// Integer hashes and smooth noise that repeats.
#include "internal.h"

uint64_t world_hash(uint64_t v)
{
    v += 0x9e3779b97f4a7c15u;
    v = (v ^ (v >> 30)) * 0xbf58476d1ce4e5b9u;
    v = (v ^ (v >> 27)) * 0x94d049bb133111ebu;
    return v ^ (v >> 31);
}

float world_unit(uint64_t seed, uint32_t i)
{
    return (float)(world_hash(seed + i * 0xd1342543de82ef95u) >> 40) * 0x1p-24f;
}

// Cubic B-spline weights: a lattice of white values becomes a surface with smooth curvature.
static void spline(float t, float w[4])
{
    const float s = 1.0f - t;
    w[0] = s * s * s / 6.0f;
    w[1] = (4.0f - 6.0f * t * t + 3.0f * t * t * t) / 6.0f;
    w[2] = (4.0f - 6.0f * s * s + 3.0f * s * s * s) / 6.0f;
    w[3] = t * t * t / 6.0f;
}

// A place on the lattice: the first of four knots and their weights.
typedef struct knot {
    int i[4];
    float w[4];
} knot;

static knot find_knot(int x, int n, int lattice)
{
    knot k;
    const int i = x * lattice / n;
    spline((float)(x * lattice - i * n) / (float)n, k.w);
    for (int a = 0; a < 4; a++)
        k.i[a] = (i + a) % lattice;
    return k;
}

void world_noise_add(float *out, int n, uint64_t seed, int lattice, float amp, float *tmp)
{
    for (int j = 0; j < lattice; j++) {
        float v[WORLD_LATTICE_MAX];
        for (int i = 0; i < lattice; i++)
            v[i] = (world_unit(seed, (uint32_t)(j * lattice + i)) - 0.5f) * 4.8f * amp;
        for (int x = 0; x < n; x++) {
            const knot k = find_knot(x, n, lattice);
            tmp[j * n + x] = k.w[0] * v[k.i[0]] + k.w[1] * v[k.i[1]] + k.w[2] * v[k.i[2]] +
                             k.w[3] * v[k.i[3]];
        }
    }
    for (int y = 0; y < n; y++) {
        const knot k = find_knot(y, n, lattice);
        const float *r0 = tmp + k.i[0] * n, *r1 = tmp + k.i[1] * n;
        const float *r2 = tmp + k.i[2] * n, *r3 = tmp + k.i[3] * n;
        float *o = out + y * n;
        for (int x = 0; x < n; x++)
            o[x] += k.w[0] * r0[x] + k.w[1] * r1[x] + k.w[2] * r2[x] + k.w[3] * r3[x];
    }
}
