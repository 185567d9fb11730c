// SPDX-License-Identifier: Apache-2.0
//
// world-sheet: contact sheets of the world generator as PPM, its self-test and its speed.
#include "../internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "diffusion/ground.h"

static int usage(void)
{
    fputs("usage: world-sheet places SEED W H > sheet.ppm   (places x times in clear air and weathers by day)\n"
          "       world-sheet clip SEED W H FRAMES > strip.ppm  (columns of 4 frames)\n"
          "       world-sheet turn SEED PLACE TIME W H > strip.ppm (8 frames, turning right)\n"
          "       world-sheet bench W H\n"
          "       world-sheet --selftest\n", stderr);
    return 2;
}

static void write_sheet(const uint8_t *frames, int columns, int rows, int w, int h)
{
    printf("P6 %d %d 255\n", columns * w, rows * h);
    for (int r = 0; r < rows; r++)
        for (int y = 0; y < h; y++)
            for (int c = 0; c < columns; c++)
                fwrite(frames + (((int64_t)r * columns + c) * h + y) * w * 3, 3, (size_t)w, stdout);
}

static int places(uint64_t seed, int w, int h)
{
    enum { looks = WORLD_TIMES + WORLD_WEATHERS - 1, all = WORLD_PLACES * looks };
    uint8_t *rgb = malloc((size_t)all * (size_t)(w * h * 3));
    if (!rgb)
        return 1;
    for (int i = 0; i < all; i++) {
        const int k = i % looks;
        const world_scene s = {i / looks, k < WORLD_TIMES ? k : WORLD_DAY, k < WORLD_TIMES ? WORLD_CLEAR : k - WORLD_TIMES + 1};
        world *wd = world_create(seed + (uint64_t)(i / looks), s);
        const float still[WORLD_CONTROLS] = {0};
        for (int k = 0; k < 6; k++)
            world_step(wd, still);
        world_render(wd, w, h, rgb + (int64_t)i * w * h * 3);
        world_destroy(&wd);
    }
    write_sheet(rgb, looks, WORLD_PLACES, w, h);
    free(rgb);
    return 0;
}

static int clip(uint64_t seed, int w, int h, int frames)
{
    uint8_t *rgb = malloc((size_t)frames * (size_t)(w * h * 3));
    float *controls = malloc(sizeof(float) * WORLD_CONTROLS * (size_t)frames);
    int32_t *scene = malloc(sizeof(int32_t) * 3 * (size_t)frames);
    const int err = rgb && controls && scene ? world_clip(seed, w, h, frames, rgb, controls, scene)
                                             : -1;
    if (!err)
        write_sheet(rgb, 4, frames / 4, w, h);
    free(rgb);
    free(controls);
    free(scene);
    return err < 0;
}

// control[k] = value on one axis, in slow flight; the caller frees the frames.
static uint8_t *fly(uint64_t seed, world_scene s, int axis, float value, int w, int h, int frames)
{
    uint8_t *rgb = malloc((size_t)frames * (size_t)(w * h * 3));
    float *controls = calloc((size_t)frames * WORLD_CONTROLS, sizeof *controls);
    int32_t *scene = malloc(sizeof(int32_t) * 3 * (size_t)frames);
    for (int k = 0; k < frames; k++) {
        controls[k * WORLD_CONTROLS + 2] = -1.0f;
        controls[k * WORLD_CONTROLS + axis] = value;
        scene[3 * k] = s.place;
        scene[3 * k + 1] = s.time;
        scene[3 * k + 2] = s.weather;
    }
    if (world_replay(seed, w, h, frames, controls, scene, rgb) < 0)
        abort();
    free(controls);
    free(scene);
    return rgb;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int bench(int w, int h)
{
    uint8_t *rgb = malloc((size_t)(w * h * 3));
    double make = 0, draw = 0;
    int frames = 0;
    for (int i = 0; i < 24; i++) {
        const float control[WORLD_CONTROLS] = {i % 3 - 1.0f, 0, 0, 0};
        const double t0 = seconds();
        world *wd = world_create((uint64_t)i, (world_scene){i % WORLD_PLACES, i % WORLD_TIMES, i % WORLD_WEATHERS});
        const double t1 = seconds();
        for (int k = 0; k < 16; k++, frames++) {
            world_step(wd, control);
            world_render(wd, w, h, rgb);
        }
        draw += seconds() - t1;
        make += t1 - t0;
        world_destroy(&wd);
    }
    printf("%dx%d: %.0f frames/s, %.1f ms to create a world\n", w, h, frames / draw,
           make / 24 * 1e3);
    free(rgb);
    return 0;
}

// Shift in pixels that best lays the middle band of frame a onto frame b; negative: b's picture
// lies to the left of a's.
static int best_shift(const uint8_t *a, const uint8_t *b, int w, int h)
{
    int best = 0;
    double least = 1e30;
    for (int d = -24; d <= 24; d++) {
        double sum = 0;
        for (int y = h * 3 / 8; y < h * 5 / 8; y++)
            for (int x = 32; x < w - 32; x++)
                sum += abs(a[(y * w + x) * 3 + 1] - b[(y * w + x + d) * 3 + 1]);
        if (sum < least) {
            least = sum;
            best = d;
        }
    }
    return best;
}

static int check(int ok, const char *what, int i)
{
    if (!ok)
        fprintf(stderr, "world-sheet: FAILED: %s (case %d)\n", what, i);
    return !ok;
}

static int constant(const uint8_t *p, int w, int h)
{
    int lo = 255, hi = 0;
    for (int i = 1; i < w * h * 3; i += 3) {
        lo = p[i] < lo ? p[i] : lo;
        hi = p[i] > hi ? p[i] : hi;
    }
    return hi - lo < 12;
}

// Between four cells of a noise map.
static float between(const float *map, float x, float z)
{
    const int xi = (int)x, zi = (int)z, m = MAP_N - 1;
    const float a = x - (float)xi, b = z - (float)zi;
    const float *p = map + (zi & m) * MAP_N, *q = map + ((zi + 1) & m) * MAP_N;
    return lerpf(lerpf(p[xi & m], p[(xi + 1) & m], a), lerpf(q[xi & m], q[(xi + 1) & m], a), b);
}

// What a camera sees of the ground's noise is what the terrain is made of.
static int same_noise(uint64_t seed)
{
    static const int lattice[NOISES] = {6, 12, 24, 48, 96, 12};
    static float map[MAP_CELLS], tmp[WORLD_LATTICE_MAX * MAP_N];
    static float noise[(32 + 2 * ZT_GROUND_MARGIN) * ZT_GROUND_DEPTHS * ZT_GROUND_NOISES], ray[18 * 32 * 4];
    static int32_t column[18 * 32];
    int bad = 0;
    zt_ground_look(&(zt_ground){seed, ZT_GROUND_TILE}, &(zt_ground_camera){.x = 200, .z = 100},
                   &(zt_ground_sight){18, 32, noise, column, ray});
    for (int n = 0; n < NOISES; n++) {
        memset(map, 0, sizeof map);
        world_noise_add(map, MAP_N, world_hash(seed + (uint64_t)n), lattice[n], 1.0f, tmp);
        for (int i = 0; i < (32 + 2 * ZT_GROUND_MARGIN) * ZT_GROUND_DEPTHS; i++) {
            const float u = 0.7f * (float)(2 * (i / ZT_GROUND_DEPTHS - ZT_GROUND_MARGIN) - 31) / 32.0f;
            const float z = zt_ground_depth(i % ZT_GROUND_DEPTHS, ZT_GROUND_DEPTHS);
            const float want = between(map, 200.0f + u * z, 100.0f + z);
            // the map is read between its cells: an eighth of the curvature, at most 0.1 for the finest noise
            bad += fabsf(noise[i * ZT_GROUND_NOISES + n] - want) > (n == 4 ? 0.1f : 0.03f);
        }
    }
    return check(!bad, "cameras see the terrain's noise", bad);
}

// Mean of the difference of two pictures, 0..255.
static double apart(const uint8_t *a, const uint8_t *b, int64_t bytes)
{
    int64_t sum = 0;
    for (int64_t i = 0; i < bytes; i++)
        sum += abs(a[i] - b[i]);
    return (double)sum / (double)bytes;
}

// Words of the prompt show: no two times in one weather, nor two weathers at one time, are alike anywhere. The nearest,
// dusk and night on Mars under storm, are 3.7 levels apart; 3 would hardly be seen.
static int words_show(void)
{
    enum { w = 64, h = 36, looks = WORLD_TIMES * WORLD_WEATHERS };
    const int64_t bytes = (int64_t)w * h * 3;
    uint8_t *p[looks];
    double least = 255;
    for (int place = 0; place < WORLD_PLACES; place++) {
        for (int i = 0; i < looks; i++)
            p[i] = fly((uint64_t)place, (world_scene){place, i / WORLD_WEATHERS, i % WORLD_WEATHERS}, 0, 0.0f, w, h, 1);
        for (int i = 0; i < looks; i++)
            for (int j = 0; j < i; j++) {
                const int alike = (i / WORLD_WEATHERS == j / WORLD_WEATHERS) + (i % WORLD_WEATHERS == j % WORLD_WEATHERS);
                const double d = apart(p[i], p[j], bytes);
                least = alike && d < least ? d : least;
            }
        for (int i = 0; i < looks; i++)
            free(p[i]);
    }
    printf("world-sheet: the two looks most alike are %.1f levels apart\n", least);
    return check(least > 3.0, "no two looks are alike", (int)least);
}

// Birds in about a sixth of the worlds, boats on many seas and on no land.
static int things_share(void)
{
    int flocks = 0, boats = 0, stranded = 0;
    for (int i = 0; i < 60; i++) {
        world *w = world_create((uint64_t)(1000 + i), (world_scene){i % 2 ? WORLD_ISLANDS : WORLD_DESERT, WORLD_DAY, WORLD_CLEAR});
        flocks += w->flock.n > 0;
        boats += i % 2 && w->boat.there;
        stranded += i % 2 == 0 && w->boat.there;
        world_destroy(&w);
    }
    printf("world-sheet: of 60 worlds %d have birds, of 30 with a sea %d have a boat\n", flocks, boats);
    return check(flocks >= 4 && flocks <= 18, "a share of the worlds has birds", flocks) +
           check(boats >= 3 && boats <= 20, "a share of the seas has a boat", boats) +
           check(!stranded, "no boat on land", stranded);
}

static double brightness(const uint8_t *p, int64_t bytes)
{
    int64_t sum = 0;
    for (int64_t i = 0; i < bytes; i++)
        sum += p[i];
    return (double)sum / (double)bytes;
}

// A change of the prompt morphs without a flash: no frame is much brighter or darker than both ends.
static int morphs(uint64_t seed, world_scene from, world_scene to)
{
    enum { w = 64, h = 36 };
    static uint8_t p[w * h * 3];
    const float still[WORLD_CONTROLS] = {0, 0, -1, 0};
    double first = 0, last = 0, lo = 255, hi = 0;
    world *wd = world_create(seed, from);
    for (int k = 0; k <= WORLD_MORPH_FRAMES; k++) {
        if (k == 1 && world_set_scene(wd, to) < 0)
            abort();
        world_step(wd, still);
        world_render(wd, w, h, p);
        const double b = brightness(p, sizeof p);
        first = k ? first : b;
        last = b;
        lo = b < lo ? b : lo;
        hi = b > hi ? b : hi;
    }
    world_destroy(&wd);
    return check(lo > (first < last ? first : last) - 8 && hi < (first > last ? first : last) + 8, "no flash in a morph",
                 (int)seed);
}

static int selftest(void)
{
    enum { w = 256, h = 144, frames = 6 };
    const int64_t bytes = (int64_t)w * h * 3;
    int bad = 0, left = 0, right = 0, turns = 0;

    for (int i = 0; i < WORLD_PLACES; i++) {
        const world_scene s = {i, i % WORLD_TIMES, WORLD_CLEAR};
        uint8_t *r = fly((uint64_t)i, s, 0, 1.0f, w, h, frames);
        uint8_t *again = fly((uint64_t)i, s, 0, 1.0f, w, h, frames);
        uint8_t *l = fly((uint64_t)i, s, 0, -1.0f, w, h, frames);
        bad += check(!memcmp(r, again, (size_t)(bytes * frames)), "same seed, same bytes", i);
        bad += check(memcmp(r, l, (size_t)(bytes * frames)), "controls change the picture", i);
        for (int k = 1; k < frames; k++, turns++) {
            right += best_shift(r + (k - 1) * bytes, r + k * bytes, w, h) < 0;
            left += best_shift(l + (k - 1) * bytes, l + k * bytes, w, h) > 0;
        }
        free(r);
        free(again);
        free(l);
    }
    bad += same_noise(7) + same_noise(70);
    bad += words_show() + things_share();
    for (int i = 0; i < WORLD_PLACES; i++)
        bad += morphs((uint64_t)i, (world_scene){i, i % WORLD_TIMES, i % WORLD_WEATHERS},
                      (world_scene){(i + 5) % WORLD_PLACES, (i + 2) % WORLD_TIMES, (i + 3) % WORLD_WEATHERS});
    // A wide sea or a far plain may match anywhere: nine of ten must be seen to turn.
    bad += check(right * 10 >= turns * 9, "turning right moves the picture left", right);
    bad += check(left * 10 >= turns * 9, "turning left moves the picture right", left);
    for (int i = 0; i < WORLD_PLACES * WORLD_WEATHERS; i++) {
        const int place = i / WORLD_WEATHERS, weather = i % WORLD_WEATHERS;
        uint8_t *p = fly((uint64_t)(100 + i), (world_scene){place, (place + weather) % WORLD_TIMES, weather}, 1, 0.5f,
                         144, 80, 2);
        bad += check(!constant(p, 144, 80) && !constant(p + 144 * 80 * 3, 144, 80),
                     "no frame is constant", i);
        free(p);
    }
    printf("world-sheet: %s (turns seen: right %d, left %d of %d)\n", bad ? "FAILED" : "ok", right,
           left, turns);
    return bad != 0;
}

int main(int argc, char **argv)
{
    long a[6] = {0};
    for (int i = 2; i < argc && i < 8; i++)
        a[i - 2] = atol(argv[i]);
    if (argc == 2 && !strcmp(argv[1], "--selftest"))
        return selftest();
    if (argc == 5 && !strcmp(argv[1], "places"))
        return places((uint64_t)a[0], (int)a[1], (int)a[2]);
    if (argc == 6 && !strcmp(argv[1], "clip"))
        return clip((uint64_t)a[0], (int)a[1], (int)a[2], (int)a[3]);
    if (argc == 7 && !strcmp(argv[1], "turn")) {
        uint8_t *p = fly((uint64_t)a[0], (world_scene){(int)a[1], (int)a[2], 0}, 0, 1.0f, (int)a[3],
                         (int)a[4], 8);
        write_sheet(p, 4, 2, (int)a[3], (int)a[4]);
        free(p);
        return 0;
    }
    if (argc == 4 && !strcmp(argv[1], "bench"))
        return bench((int)a[0], (int)a[1]);
    return usage();
}
