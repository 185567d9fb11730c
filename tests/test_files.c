// SPDX-License-Identifier: Apache-2.0
// Files that are whole or called .part, at a constant rate, in the right colours; and what is refused.
#include <fcntl.h>
#include <malloc.h>
#include <math.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/base.h"
#include "tests/streams.h"

static void containers_hold_every_picture_at_a_constant_rate(void **state)
{
    need_ffmpeg();
    static const struct {
        const char *name, *codec, *is, *format;
    } cases[] = {
        { "a.mp4", NULL, "h264", "yuv420p" },    { "b.mkv", NULL, "h264", "yuv420p" },
        { "c.webm", NULL, "vp9", "yuv420p" },    { "d.mov", "prores", "prores", "yuv422p10le" },
        { "e.mkv", "ffv1", "ffv1", "yuv420p" },  { "f.mp4", "h265", "hevc", "yuv420p" },
        { "g.webm", "vp8", "vp8", "yuv420p" },   { "h.mkv", "av1", "av1", "yuv420p" },
    };
    const int n = 31;
    for (size_t i = 0; i < ZT_LEN(cases); i++) {
        zt_stream_params p = params(path(cases[i].name));
        p.codec = cases[i].codec;
        p.out_w = 2 * W;
        p.out_h = 2 * H;
        p.title = "a title";
        assert_int_equal(stream_all(&p, n), 0);
        char got[512], want[512];
        ask(got, sizeof(got), "ffprobe -v error -count_frames -show_entries stream=codec_name,width,height,pix_fmt,"
            "color_range,color_space,color_transfer,color_primaries,r_frame_rate,avg_frame_rate,nb_read_frames "
            "-of csv=p=0 '%s'", path(cases[i].name));
        snprintf(want, sizeof(want), "%s,%d,%d,%s,tv,bt709,bt709,bt709,24/1,24/1,%d\n", cases[i].is, 2 * W, 2 * H,
                 cases[i].format, n);
        assert_string_equal(got, want);
        ask(got, sizeof(got), "ffprobe -v error -show_entries format_tags=title -of csv=p=0 '%s'", path(cases[i].name));
        assert_string_equal(got, "a title\n");
        assert_pictures(path(cases[i].name), 2 * W, 2 * H, n);
    }
}

static void fill_memory(int byte)
{
#ifdef M_PERTURB        // glibc: what malloc() gives and free() takes is filled
    mallopt(M_PERTURB, byte);
#else
    (void)byte;
#endif
}

// Bits depend on the pictures alone, whatever the memory held that an encoder gets.
static void files_are_the_same_bytes_each_time(void **state)
{
    static const struct {
        const char *name;
        int         w;
    } cases[] = { { "a.mp4", 96 }, { "a.mp4", 128 }, { "a.mp4", 144 }, { "a.mp4", 272 }, { "b.webm", 144 }, { "c.mov", 144 } };
    (void)state;
    for (size_t i = 0; i < ZT_LEN(cases); i++) {
        char hash[3][128];
        for (int k = 0; k < 3; k++) {
            zt_stream_params p = params(path(cases[i].name));
            p.out_w = cases[i].w;
            p.out_h = 144;
            p.overwrite = true;
            fill_memory((int[]){ 0, 1, 165 }[k]);
            assert_int_equal(stream_all(&p, 24), 0);
            fill_memory(0);
            ask(hash[k], sizeof(hash[k]), "sha256sum '%s'", p.url);
        }
        assert_string_equal(hash[0], hash[1]);
        assert_string_equal(hash[0], hash[2]);
    }
}

static void steps_of_time_are_equal(void **state)
{
    need_ffmpeg();
    zt_stream_params p = params(path("steps.mp4"));
    assert_int_equal(stream_all(&p, 40), 0);
    char got[4096];
    ask(got, sizeof(got), "ffprobe -v error -show_entries frame=pts_time -of csv=p=0 '%s'", path("steps.mp4"));
    int k = 0;
    for (char *at = strtok(got, "\n"); at; at = strtok(NULL, "\n"))
        assert_true(fabs(atof(at) - k++ / 24.0) < 1e-5);
    assert_int_equal(k, 40);
}

static void a_file_has_its_name_only_when_it_is_whole(void **state)
{
    static const char *const names[] = { "part.mp4", "part.mkv", "part.y4m" };
    for (size_t i = 0; i < ZT_LEN(names); i++) {
        const char *name = names[i];
        char part[64];
        if (!strstr(name, "y4m") && !can_encode())
            continue;
        snprintf(part, sizeof(part), "%s.part", name);
        zt_stream_params p = params(path(name));
        zt_stream *s;
        zt_frame_pool *pool = make_pool();
        assert_int_equal(zt_stream_open(&s, &p), 0);
        assert_int_equal(push(s, pool, 0, INT64_MAX), 0);
        assert_true(exists(part) && !exists(name));
        zt_stream_close(&s);                        // without finish
        assert_true(exists(part) && !exists(name));
        assert_int_equal(stream_all(&p, 3), 0);     // over the .part that was left
        assert_true(!exists(part) && exists(name));
        zt_frame_pool_destroy(&pool);
    }
}

static void write_text(const char *name, const char *text)
{
    FILE *f = fopen(path(name), "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void assert_text(const char *name, const char *text)
{
    char got[64] = { 0 };
    FILE *f = fopen(path(name), "r");
    assert_non_null(f);
    assert_true(fread(got, 1, sizeof(got) - 1, f) > 0);
    fclose(f);
    assert_memory_equal(got, text, strlen(text));
}

static void what_exists_is_not_touched(void **state)
{
    static const char *const names[] = { "old.mp4", "old.y4m", "old%02d.png" }, *const there[] = { "old.mp4", "old.y4m",
                                                                                                     "old07.png" };
    for (size_t i = 0; i < ZT_LEN(names); i++) {
        if (!strstr(names[i], "y4m") && !can_encode())
            continue;
        write_text(there[i], "precious");
        zt_stream_params p = params(path(names[i]));
        assert_int_equal(stream_all(&p, 9), -EEXIST);
        assert_text(there[i], "precious");
        assert_false(exists("old.mp4.part") || exists("old.y4m.part") || exists("old00.png"));
        p.overwrite = true;
        assert_int_equal(stream_all(&p, 9), 0);
        struct stat st;
        assert_int_equal(stat(path(there[i]), &st), 0);
        assert_true(st.st_size > 100);
    }
}

static void a_file_that_appears_meanwhile_is_kept(void **state)
{
    zt_stream_params p = params(path("race.y4m"));
    zt_stream *s, *other;
    zt_frame_pool *pool = make_pool();
    assert_int_equal(zt_stream_open(&s, &p), 0);
    assert_int_equal(zt_stream_open(&other, &p), -EBUSY);
    assert_int_equal(push(s, pool, 0, INT64_MAX), 0);
    write_text("race.y4m", "precious");
    assert_int_equal(zt_stream_finish(s), -EEXIST);
    zt_stream_close(&s);
    assert_text("race.y4m", "precious");
    assert_true(exists("race.y4m.part"));
    zt_frame_pool_destroy(&pool);
}

static void y4m_is_the_pictures_byte_by_byte(void **state)
{
    zt_stream_params p = params(path("raw.y4m"));
    assert_int_equal(stream_all(&p, 3), 0);
    FILE *f = fopen(path("raw.y4m"), "rb");
    assert_non_null(f);
    char head[160];
    assert_non_null(fgets(head, sizeof(head), f));
    assert_string_equal(head, "YUV4MPEG2 W128 H96 F24:1 Ip A1:1 C420mpeg2 XYSCSS=420MPEG2 XCOLORRANGE=LIMITED\n");
    zt_frame_pool *pool = make_pool();
    for (int k = 0; k < 3; k++) {
        zt_frame *want = picture(pool, k);
        assert_non_null(fgets(head, sizeof(head), f));
        assert_string_equal(head, "FRAME\n");
        for (int i = 0; i < 3; i++)
            for (int y = 0; y < (i ? H / 2 : H); y++) {
                uint8_t row[W];
                const size_t n = i ? W / 2 : W;
                assert_int_equal(fread(row, 1, n, f), n);
                assert_memory_equal(row, want->plane[i] + y * want->pitch[i], n);
            }
        zt_frame_unref(&want);
    }
    assert_int_equal(fgetc(f), EOF);
    fclose(f);
    zt_frame_pool_destroy(&pool);
}

static void png_numbers_start_at_nought_and_colours_are_right(void **state)
{
    need_ffmpeg();
    zt_stream_params p = params(path("p%03d.png"));
    zt_frame_pool *pool = make_pool();
    zt_stream *s;
    assert_int_equal(zt_stream_open(&s, &p), 0);
    zt_frame *f = picture(pool, 0);     // BT.709 limited red: Y 63, Cb 102, Cr 240
    for (int i = 0; i < 3; i++)
        for (int y = 0; y < (i ? H / 2 : H); y++)
            memset(f->plane[i] + y * f->pitch[i], i == 0 ? 63 : i == 1 ? 102 : 240, (size_t)(i ? W / 2 : W));
    assert_int_equal(zt_stream_push(s, f, INT64_MAX), 0);
    zt_frame_unref(&f);
    assert_int_equal(push(s, pool, 1, INT64_MAX), 0);
    assert_int_equal(zt_stream_finish(s), 0);
    zt_stream_close(&s);
    zt_frame_pool_destroy(&pool);
    assert_true(exists("p000.png") && exists("p001.png"));
    assert_false(exists("p002.png") || exists("p000.png.part"));
    char rgb[16];
    ask(rgb, sizeof(rgb), "ffmpeg -v error -i '%s' -f rawvideo -pix_fmt rgb24 - | head -c 3", path("p000.png"));
    // Each of Y, Cb, Cr is within half a step of red's: 255, 0, 0 within 3 (1.16 / 2 + 2.11 / 2, and rounding).
    assert_in_range((uint8_t)rgb[0], 252, 255);
    assert_in_range((uint8_t)rgb[1], 0, 3);
    assert_in_range((uint8_t)rgb[2], 0, 3);
}

static void scaling_moves_neither_luma_nor_chroma(void **state)
{
    zt_stream_params p = params(path("scaled.y4m"));
    p.out_w = 2 * W;
    p.out_h = 2 * H;
    zt_frame_pool *pool = make_pool();
    zt_stream *s;
    if (zt_stream_open(&s, &p) == -ENOSYS)
        skip();
    zt_frame *f = picture(pool, 0);
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++)
            f->plane[0][y * f->pitch[0] + x] = (uint8_t)(x + 20);
    for (int i = 1; i < 3; i++)
        for (int y = 0; y < H / 2; y++)
            for (int x = 0; x < W / 2; x++)
                f->plane[i][y * f->pitch[i] + x] = (uint8_t)(i == 1 ? 3 * x + 20 : 3 * y + 20);
    assert_int_equal(zt_stream_push(s, f, INT64_MAX), 0);
    zt_frame_unref(&f);
    assert_int_equal(zt_stream_finish(s), 0);
    zt_stream_close(&s);
    zt_frame_pool_destroy(&pool);

    FILE *file = fopen(path("scaled.y4m"), "rb");
    char head[160];
    static uint8_t big[2 * W * 2 * H * 3 / 2];
    assert_non_null(fgets(head, sizeof(head), file));
    assert_non_null(fgets(head, sizeof(head), file));
    assert_int_equal(fread(big, 1, sizeof(big), file), sizeof(big));
    fclose(file);
    const uint8_t *u = big + 4 * W * H, *v = u + W * H;
    // Sample x of the output lies at (x + 0.5) / 2 - 0.5 of the input. Chroma is sited left: the output's lies on its
    // luma sample 2 x, hence at x / 2 - 0.125 chroma samples; vertically it is centred. Slopes 1 and 3.
    double luma = 0, across = 0, down = 0;
    for (int x = 16; x < 2 * W - 16; x++)
        luma += big[W * 2 * H + x] - (20 + (x + 0.5) / 2 - 0.5);
    for (int x = 16; x < W - 16; x++)
        across += u[W * H / 2 + x] - (20 + 3 * (x / 2.0 - 0.125));
    for (int y = 16; y < H - 16; y++)
        down += v[y * W + W / 2] - (20 + 3 * ((y + 0.5) / 2 - 0.5));
    // Rounding to 8 bits averages out to within 0.3; chroma a quarter of a sample off would give 0.375.
    assert_true(fabs(luma / (2 * W - 32)) < 0.3);
    assert_true(fabs(across / (W - 32)) < 0.3);
    assert_true(fabs(down / (H - 32)) < 0.3);
}

static void what_cannot_be_is_refused(void **state)
{
    static const struct {
        const char *url, *codec;
        bool        live;
        int         out_w, err;
    } cases[] = {
        { "x.avi", NULL, false, 0, -EINVAL },       { "x", NULL, false, 0, -EINVAL },
        { ".mp4", NULL, false, 0, -EINVAL },        { "x.webm", "h264", false, 0, -EINVAL },
        { "x.mp4", "prores", false, 0, -EINVAL },   { "x.mov", "vp9", false, 0, -EINVAL },
        { "x.mp4", "h2", false, 0, -EINVAL },       { "x.mp4", "", false, 0, -EINVAL },
        { "x.y4m", "h264", false, 0, -EINVAL },     { "x.png", NULL, false, 0, -EINVAL },
        { "%d%d.png", NULL, false, 0, -EINVAL },    { "%s.png", NULL, false, 0, -EINVAL },
        { "%d/x.png", NULL, false, 0, -EINVAL },    { "%00d.png", NULL, false, 0, -EINVAL },
        { "rtsp:/live", NULL, true, 0, -EINVAL },   { "null:", "av1", true, 0, -EINVAL },
        { "null:", NULL, false, 15, -EINVAL },      { "null:", NULL, false, 8194, -EINVAL },
        { "null:", NULL, false, 33, -EINVAL },      { "none/x.mp4", NULL, false, 0, -ENOENT },
        { "none/x.y4m", NULL, false, 0, -ENOENT },  { "none/%d.png", NULL, false, 0, -ENOENT },
        { "dir.mp4", NULL, false, 0, -EISDIR },
    };
    assert_int_equal(mkdir(path("dir.mp4"), 0777), 0);
    for (size_t i = 0; i < ZT_LEN(cases); i++) {
        const bool file = !strchr(cases[i].url, ':');
        zt_stream_params p = params(file && cases[i].url[0] != '.' ? path(cases[i].url) : cases[i].url);
        p.codec = cases[i].codec;
        p.live = cases[i].live;
        p.out_w = cases[i].out_w;
        p.out_h = cases[i].out_w ? 64 : 0;
        zt_stream *s = NULL;
        const int before = errors;
        const int err = zt_stream_open(&s, &p);
        if (err != cases[i].err && err != -ENOSYS)
            fail_msg("%s %s: %d", cases[i].url, cases[i].codec ? cases[i].codec : "", err);
        assert_null(s);
        assert_int_equal(errors, before + 1);          // one clear line
    }
    assert_false(exists("x.mp4") || exists("x.mp4.part"));
}

static void a_full_disk_leaves_the_part(void **state)
{
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 40000;             // the nearest that needs no mount: EFBIG instead of ENOSPC
    static const char *const names[] = { "full.mkv", "full.y4m" };
    for (size_t i = 0; i < ZT_LEN(names); i++) {
        zt_stream_params p = params(path(names[i]));
        if (!i && !can_encode())
            continue;
        p.codec = i ? NULL : "ffv1";
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        const int logged = errors, err = stream_all(&p, 60);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(err, -EFBIG);
        assert_int_equal(errors, logged + 1);
        char part[64];
        snprintf(part, sizeof(part), "%s.part", names[i]);
        assert_true(exists(part) && !exists(names[i]));
    }
    assert_int_equal(symlink("/dev/full", path("device.y4m")), 0);
    zt_stream_params p = params(path("device.y4m"));
    assert_int_equal(stream_all(&p, 3), -ENOSPC);
}

static void a_pipe_whose_reader_leaves_gives_epipe(void **state)
{
    assert_int_equal(mkfifo(path("pipe.y4m"), 0600), 0);
    const int reader = open(path("pipe.y4m"), O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0);
    zt_stream_params p = params(path("pipe.y4m"));
    zt_stream *s;
    zt_frame_pool *pool = make_pool();
    assert_int_equal(zt_stream_open(&s, &p), 0);
    close(reader);
    int err = 0;
    for (int k = 0; k < 100 && !err; k++)
        err = push(s, pool, k, INT64_MAX);
    assert_int_equal(err, -EPIPE);
    assert_int_equal(push(s, pool, 200, 0), -EPIPE);
    assert_int_equal(zt_stream_finish(s), -EPIPE);
    zt_stream_close(&s);
    zt_frame_pool_destroy(&pool);
    assert_false(exists("pipe.y4m.part"));
}

static void a_pipe_cannot_hold_mp4(void **state)
{
    if (!can_encode())
        skip();
    assert_int_equal(mkfifo(path("pipe.mp4"), 0600), 0);
    const int reader = open(path("pipe.mp4"), O_RDONLY | O_NONBLOCK);
    zt_stream_params p = params(path("pipe.mp4"));
    assert_int_equal(stream_all(&p, 1), -EINVAL);
    close(reader);
}

static void one_encoding_goes_to_several_places(void **state)
{
    need_ffmpeg();
    zt_stream_params p = params("null:");
    p.also[0] = path("also.mp4");
    p.also[1] = path("also.mkv");
    p.also[2] = path("also.y4m");
    p.live = true;
    p.queue = 40;
    assert_int_equal(stream_all(&p, 30), 0);
    assert_pictures(path("also.mp4"), W, H, 30);
    assert_pictures(path("also.mkv"), W, H, 30);
    assert_pictures(path("also.y4m"), W, H, 30);
}

static void a_place_that_fails_is_left_out(void **state)
{
    need_ffmpeg();
    assert_int_equal(symlink("/dev/full", path("full2.y4m")), 0);
    zt_stream_params p = params(path("full2.y4m"));
    p.also[0] = path("whole.mp4");
    assert_int_equal(stream_all(&p, 20), -ENOSPC);
    assert_pictures(path("whole.mp4"), W, H, 20);
}

static void nothing_in_nothing_out(void **state)
{
    zt_stream_params p = params(path("none.mp4"));
    assert_int_equal(stream_all(&p, 0), can_encode() ? -ENODATA : -ENOSYS);
    assert_false(exists("none.mp4"));
    p.url = path("none.y4m");
    assert_int_equal(stream_all(&p, 0), 0);
    zt_stream *s = NULL;
    zt_stream_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(containers_hold_every_picture_at_a_constant_rate),
        cmocka_unit_test(files_are_the_same_bytes_each_time),
        cmocka_unit_test(steps_of_time_are_equal),
        cmocka_unit_test(a_file_has_its_name_only_when_it_is_whole),
        cmocka_unit_test(what_exists_is_not_touched),
        cmocka_unit_test(a_file_that_appears_meanwhile_is_kept),
        cmocka_unit_test(y4m_is_the_pictures_byte_by_byte),
        cmocka_unit_test(png_numbers_start_at_nought_and_colours_are_right),
        cmocka_unit_test(scaling_moves_neither_luma_nor_chroma),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(a_full_disk_leaves_the_part),
        cmocka_unit_test(a_pipe_whose_reader_leaves_gives_epipe),
        cmocka_unit_test(a_pipe_cannot_hold_mp4),
        cmocka_unit_test(one_encoding_goes_to_several_places),
        cmocka_unit_test(a_place_that_fails_is_left_out),
        cmocka_unit_test(nothing_in_nothing_out),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
