// SPDX-License-Identifier: Apache-2.0
//
// Ground noise: noise that is tied to the ground instead of to the frame, so that a place keeps its shape while the
// camera moves over it and when it comes back (models with the key "ground", doc/formats.md).
//
// The ground is a torus of `side` cells each way whose noises follow from a seed alone. The camera's way follows from the
// controls, but for its height: how high the ground is only the model knows.
//
// Pure functions of plain arithmetic: the same bits on every machine. One thread per camera.
#ifndef ZT_DIFFUSION_GROUND_H
#define ZT_DIFFUSION_GROUND_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ZT_GROUND_NOISES   13
#define ZT_GROUND_DEPTHS   36       // samples of a column, unless it is
#define ZT_GROUND_FINE     72
#define ZT_GROUND_MARGIN   5        // columns beyond the picture's edges on either side: it may be tilted
#define ZT_GROUND_CONTROLS 4        // yaw, pitch, speed, climb
#define ZT_GROUND_TILE     512      // cells; a side is a multiple of it
#define ZT_GROUND_SIDE     (ZT_GROUND_TILE * 1024)

typedef struct zt_ground {
    uint64_t seed;
    int      side;
} zt_ground;

typedef struct zt_ground_camera {
    double x, z;                            // cells, in [0, side)
    double yaw;                             // radians; 0 looks along +z, + turns to +x
    double sun;                             // the same, of the light; fixed
    float  pitch, roll;                     // radians; + is up, + leans to the right
    float  y, rise;                         // cells above the water, and per frame; y < 0: not known yet
    float  control[ZT_GROUND_CONTROLS];     // after the lag
} zt_ground_camera;

// Through h x w rays, one per latent pixel, over a horizontal field of view of 70 degrees.
typedef struct zt_ground_sight {
    int      h, w;
    // [w + 2 MARGIN][depths][NOISES], columns from left to right: smooth noise of periods 512 / 6, 12, 24, 48, 96 and 12
    // cells, about [-1, 1]; nearness to a spot in [0, 1], and times its weight, for even spots, nearness for odd ones; sine
    // and cosine of two swells
    float   *noise;
    int32_t *column;    // [h][w]: the noise's column that the ray runs along, nearest
    // [h][w][4]: slope; cosine and sine of its flat angle from the light, + to the right; clouds, about [0, 1] (0 below
    // slope 0.03)
    float   *ray;
    int      depths;    // samples of a column: ZT_GROUND_DEPTHS (0 too) or ZT_GROUND_FINE
} zt_ground_sight;

// Depth of sample k of `depths`, in cells: 4 * 1.125^(36 k / depths).
float zt_ground_depth(int k, int depths);

// The endless ground of a stream's seed: 2^19 cells a side.
zt_ground zt_ground_of(uint64_t seed);

// Somewhere on the ground, looking more or less towards the light; level and still.
zt_ground_camera zt_ground_start(const zt_ground *g);

// Moves the camera by one frame of 1/24 s, but for its height; controls in [-1, 1] (beyond: clamped). Per frame each control
// goes 0.6 of its way, yaw turns by at most 40/24 degrees, and the camera advances by 1.05 + 0.75 speed cells.
void zt_ground_step(const zt_ground *g, zt_ground_camera *c, const float control[ZT_GROUND_CONTROLS]);

// Then its height: springs keep it 10 to 52 cells above `ahead`, the highest ground ahead, taken to be in [0, 1000]; at first,
// and after a height that is no number, it is 21 above.
void zt_ground_climb(zt_ground_camera *c, float ahead);

// Fills noise for the columns [from, to), of w + 2 MARGIN; or column and ray for the rows [from, to), of h. Any threads.
void zt_ground_columns(const zt_ground *g, const zt_ground_camera *c, const zt_ground_sight *s, int from, int to);
void zt_ground_rays(const zt_ground *g, const zt_ground_camera *c, const zt_ground_sight *s, int from, int to);

// Both, whole.
void zt_ground_look(const zt_ground *g, const zt_ground_camera *c, const zt_ground_sight *s);

#ifdef __cplusplus
}
#endif

#endif
