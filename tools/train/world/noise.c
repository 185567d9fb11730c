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

void world_noise_add(float *out, int n, uint64_t seed, int lattice, float amp, float *tmp)
{
    const int k = n / lattice;
    const float unit = 1.0f / (float)k;

    for (int j = 0; j < lattice; j++) {
        for (int i = 0; i < lattice; i++) {
            float v[4], w[4];
            for (int a = 0; a < 4; a++) {
                const int at = j * lattice + ((i + a) & (lattice - 1));
                v[a] = (world_unit(seed, (uint32_t)at) - 0.5f) * 4.8f * amp;
            }
            for (int p = 0; p < k; p++) {
                spline((float)p * unit, w);
                tmp[j * n + i * k + p] = w[0] * v[0] + w[1] * v[1] + w[2] * v[2] + w[3] * v[3];
            }
        }
    }
    for (int y = 0; y < n; y++) {
        const float *row[4];
        float w[4];
        spline((float)(y % k) * unit, w);
        for (int a = 0; a < 4; a++)
            row[a] = tmp + ((y / k + a) & (lattice - 1)) * n;
        for (int x = 0; x < n; x++)
            out[y * n + x] += w[0] * row[0][x] + w[1] * row[1][x] + w[2] * row[2][x] +
                              w[3] * row[3][x];
    }
}
