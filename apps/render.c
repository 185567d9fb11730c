// SPDX-License-Identifier: Apache-2.0
// zoetrope-render: a prompt in, a file out, as fast as the machine allows.
#include <cjson/cJSON.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/about.h"
#include "apps/batch/batch.h"
#include "apps/batch/tell.h"
#include "apps/contact_sheet.h"
#include "apps/events.h"
#include "apps/exits.h"
#include "apps/options.h"
#include "apps/progress.h"
#include "apps/setup.h"
#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "engine/replay.h"
#include "stream/picture.h"
#include "stream/stream.h"

static const char *const codecs[] = { "auto", "h264", "h265", "vp9", "av1", "ffv1", "prores", NULL };

static const char *const submits[] = { "none", "slurm", NULL };

typedef struct render {
    zt_common   common;
    zt_setup    setup;
    const char *prompt, *out, *events_path, *sheet_path, *progress_path;
    const char *image, *replay;
    zt_batch    batch;          // of --manifest
    float      *picture;
    int64_t     frames, fps, steps, crf, bitrate;
    uint64_t    seed;
    zt_range    size;
    int         codec, submit;
    bool        overwrite;

    zt_events   events;
    zt_replay  *log;            // of --replay
    zt_stream  *stream;
    zt_session *session;
    zt_sheet   *sheet;          // the engine's thread, then ours
    int         push_error;     // the engine's thread, then ours
    bool        cut;            // interrupted within a picture: the reader of a pipe stood still
    zt_progress progress;       // the stream's thread, then ours
    int64_t     written;        // the same
} render;

// The signal handler can reach nothing else.
static int interrupted;         // atomic

static void on_signal(int number)
{
    (void)number;
    __atomic_store_n(&interrupted, 1, __ATOMIC_RELAXED);
}

static bool was_interrupted(void)
{
    return __atomic_load_n(&interrupted, __ATOMIC_RELAXED);
}

static void catch_signals(void)
{
    struct sigaction a = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };    // the second one kills
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void on_frame(void *cookie, zt_frame *f)
{
    render *r = cookie;
    if (r->sheet)
        zt_sheet_add(r->sheet, f);
    const int err = r->push_error ? r->push_error : zt_stream_push(r->stream, f, INT64_MAX);
    if (err < 0)
        r->push_error = err;
    if (err < 0 || was_interrupted())
        zt_session_stop(r->session);
}

static void on_packet(void *cookie, const zt_packet *p, int64_t now, int64_t encode_ns)
{
    render *r = cookie;
    (void)encode_ns;
    r->written++;
    zt_session_delivered(r->session, p->index, now);
    zt_progress_tell(&r->progress, r->written, now);
}

// What a line says cannot be said for all.
static int check_manifest(render *r, const zt_program *program)
{
    if (r->prompt || r->image || r->replay || r->events_path || r->sheet_path || r->seed || r->frames || r->fps || r->size.a ||
        r->steps || r->codec || r->crf >= 0 || r->bitrate)
        return zt_options_misuse(program, "with --manifest every clip is described in its line, not by options");
    if (!r->out && !r->batch.check)
        return zt_options_misuse(program, "no output directory: -o DIR is missing");
    if (r->out && !strcmp(r->out, "-"))
        return zt_options_misuse(program, "the clips of a manifest go to a directory, not to stdout");
    if (r->batch.go && !r->submit)
        return zt_options_misuse(program, "--go needs --submit");
    if ((r->submit != 0) + r->batch.check + r->batch.collect > 1)
        return zt_options_misuse(program, "--submit, --check and --collect exclude each other");
    return -1;
}

static int check_clip(render *r, const zt_program *program)
{
    if (r->batch.index || r->batch.resume || r->batch.check || r->batch.collect || r->submit || r->batch.go)
        return zt_options_misuse(program, "--index, --resume, --check, --collect, --submit and --go need --manifest");
    if (r->replay && (r->prompt || r->events_path || r->seed))
        return zt_options_misuse(program, "--replay has its own prompts, events and seed");
    if (!r->out || !*r->out)
        return zt_options_misuse(program, "no output: -o OUT is missing");
    if (!r->prompt && !r->replay)
        return zt_options_misuse(program, "no prompt: -p PROMPT is missing");
    if (r->prompt && zt_prompt_check(r->prompt) < 0)
        return ZT_EXIT_USAGE;
    if (r->size.a % 2 || r->size.b % 2)
        return zt_options_misuse(program, "--size: width and height must be even");
    if (r->crf >= 0 && r->bitrate)
        return zt_options_misuse(program, "--crf and --bitrate exclude each other");
    if (r->progress_path && !strcmp(r->progress_path, "-") && !strcmp(r->out, "-"))
        return zt_options_misuse(program, "output and progress cannot both go to stdout");
    return -1;
}

static int parse(render *r, int argc, char **argv)
{
    const zt_option option[] = {
        { "model", 'm', ZT_OPTION_STRING, &r->setup.path, "DIR", "model directory (the shipped model)" },
        { "prompt", 'p', ZT_OPTION_STRING, &r->prompt, "TEXT", "what to show (required without --replay)" },
        { "frames", 'n', ZT_OPTION_INT, &r->frames, "N", "how many (10 seconds of them)", 1, INT32_MAX },
        { "fps", 'r', ZT_OPTION_INT, &r->fps, "N", "frames per second (the model's own)", 1, 60 },
        { "size", 0, ZT_OPTION_SIZE, &r->size, "WxH",
          "of the output (encoded: twice the model's own; y4m, png: its own)", 16, 8192 },
        { "seed", 0, ZT_OPTION_SEED, &r->seed, "N", "same seed, same frames (0)" },
        { "steps", 0, ZT_OPTION_INT, &r->steps, "N", "denoising steps per frame (the model's own)", 1, ZT_MAX_STEPS },
        { "events", 0, ZT_OPTION_STRING, &r->events_path, "FILE",
          "prompts and controls at exact frames, a JSON object a line" },
        { "precision", 0, ZT_OPTION_CHOICE, &r->setup.precision_name, "P", "f32, bf16 or int8 (as the model is stored)",
          0, 0, zt_precision_names },
        { "kv", 0, ZT_OPTION_CHOICE, &r->setup.kv, "K", "keys and values: float, int8 or default (as the model says)", 0, 0,
          zt_kv_names },
        { "device", 0, ZT_OPTION_CHOICE, &r->setup.device_name, "D", "cpu, cuda or auto (auto)", 0, 0,
          zt_device_names },
        { "codec", 0, ZT_OPTION_CHOICE, &r->codec, "C", "h264 h265 vp9 av1 ffv1 prores (by the output's name)", 0, 0,
          codecs },
        { "crf", 0, ZT_OPTION_INT, &r->crf, "N", "constant quality, less is better (the codec's usual)", 0, 63 },
        { "bitrate", 0, ZT_OPTION_RATE, &r->bitrate, "R", "bits per second in place of --crf, such as 2M (none)", 1000,
          1000000000 },
        { "image", 0, ZT_OPTION_STRING, &r->image, "FILE", "the first picture, PNG or JPEG; the rest follows from it (none)" },
        { "manifest", 0, ZT_OPTION_STRING, &r->batch.manifest, "FILE", "many clips, a JSON object a line; -o is their directory" },
        { "index", 0, ZT_OPTION_STRING, &r->batch.index, "A[-B]", "of the manifest only these, from 0 (all)" },
        { "resume", 0, ZT_OPTION_FLAG, &r->batch.resume, NULL, "go on with a manifest: what is done stays" },
        { "check", 0, ZT_OPTION_FLAG, &r->batch.check, NULL, "only check the manifest, estimate seconds and bytes" },
        { "collect", 0, ZT_OPTION_FLAG, &r->batch.collect, NULL, "only verify what a manifest's clips have become" },
        { "jobs", 0, ZT_OPTION_INT, &r->batch.jobs, "N", "clips at once (as many as memory holds, 8 or as many for each thread)", 1, ZT_TELL_PLACES },
        { "chunk", 0, ZT_OPTION_INT, &r->batch.chunk, "N", "frames of a manifest's clip encoded by themselves (240)", 1, 1000000 },
        { "submit", 0, ZT_OPTION_CHOICE, &r->submit, "WHERE", "print an array job for the manifest: slurm", 0, 0, submits },
        { "per-task", 0, ZT_OPTION_INT, &r->batch.per_task, "N", "clips of a task of the array, at least (8)", 1, 1000000 },
        { "go", 0, ZT_OPTION_FLAG, &r->batch.go, NULL, "hand the array job to sbatch" },
        { "replay", 0, ZT_OPTION_STRING, &r->replay, "FILE", "make a session's frames again from its log; with --steps better ones" },
        { "contact-sheet", 0, ZT_OPTION_STRING, &r->sheet_path, "FILE", "16 of the frames in one PNG (none)" },
        { "progress", 0, ZT_OPTION_STRING, &r->progress_path, "FILE",
          "key=value lines ten times a second; - is stdout (none)" },
        { "overwrite", 'y', ZT_OPTION_FLAG, &r->overwrite, NULL, "replace an existing output" },
        { "out", 'o', ZT_OPTION_STRING, &r->out, "OUT",
          ".mp4 .mkv .webm .mov .y4m, %04d.png, or - for y4m on stdout (required)" },
        { 0 },
    };
    const zt_program program = { "zoetrope-render", "Renders a clip from a prompt.", "-p PROMPT [OPTIONS] -o OUT",
                                 option, 0 };
    const char *none[1];
    const int code = zt_options_parse(&program, argc, argv, &r->common, none);
    if (code >= 0)
        return code;
    r->setup.threads = r->common.threads;
    if (r->image && r->replay)
        return zt_options_misuse(&program, "--image and --replay exclude each other");
    if (r->batch.manifest)
        return check_manifest(r, &program);
    return check_clip(r, &program);
}

// Before any work: an output that is in the way, or can never be written. Pipes and devices are written directly.
static int check_output(const char *path, bool overwrite)
{
    struct stat st;
    char folder[4096];
    if (!strcmp(path, "-"))
        return 0;
    if (!strchr(path, '%') && !stat(path, &st) && (S_ISREG(st.st_mode) ? !overwrite : S_ISDIR(st.st_mode))) {
        zt_error("%s exists%s", path, S_ISDIR(st.st_mode) ? " and is a directory" : ", -y replaces it");
        return ZT_EXIT_NO_OUTPUT;
    }
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    if (access(folder, F_OK) < 0) {
        zt_error("%s: %s", folder, strerror(errno));
        return ZT_EXIT_NO_OUTPUT;
    }
    return 0;
}

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcasecmp(text + n - m, end);
}

static bool raw_output(const char *path)
{
    return !strcmp(path, "-") || ends_with(path, ".y4m") || ends_with(path, ".png");
}

// For the container; cJSON_free() it.
static char *describe(const render *r, const zt_model_info *info, const char *prompt)
{
    const zt_about about = { .info = info, .prompt = prompt, .seed = r->seed,
                             .steps = r->steps ? (int)r->steps : info->steps };
    cJSON *root = zt_about_json(&about);
    char *text = cJSON_PrintUnformatted(root);
    cJSON_Delete(root);
    return text;
}

static int open_stream(render *r, const zt_model_info *info)
{
    const char *logged = r->log && r->log->events ? r->log->event[0].prompt : NULL;
    const char *prompt = r->prompt ? r->prompt : logged ? logged : info->default_prompt;
    char *about = describe(r, info, prompt);
    const int w = r->log ? r->log->w : info->w, h = r->log ? r->log->h : info->h;
    zt_stream_params p = {
        .url = r->out,
        .w = w,
        .h = h,
        .out_w = r->size.a,
        .out_h = r->size.b,
        .fps = (int)r->fps,
        .codec = r->codec ? codecs[r->codec] : NULL,
        .crf = r->crf == 0  ? -1
               : r->crf < 0 ? 0
                            : (int)r->crf,
        .bitrate = r->bitrate,
        .overwrite = r->overwrite,
        .title = prompt,
        .comment = about,
        .on_packet = on_packet,
        .cookie = r,
        .hurry = &interrupted,
    };
    if (!p.out_w && !raw_output(r->out))
        p.out_w = 2 * w, p.out_h = 2 * h;
    const int code = about ? zt_exit_output(zt_stream_open(&r->stream, &p)) : ZT_EXIT_UNAVAILABLE;
    cJSON_free(about);
    return code;
}

// What the log says takes the place of what the command line would.
static int open_log(render *r)
{
    const zt_model_info *info = zt_model_get_info(r->setup.model);
    const int err = zt_replay_read(&r->log, r->replay, r->setup.model);
    if (err < 0)
        return zt_exit_input(err);
    const zt_replay *log = r->log;
    if (log->hash != info->hash) {
        zt_error("%s: was made with another model, \"%s\": give its directory with -m", r->replay, log->model);
        return ZT_EXIT_DATA;
    }
    if (strcmp(log->level, r->setup.device->level) || strcmp(log->precision, zt_precision_names[info->precision]))
        zt_warn("%s was made by kernels %s at %s, these are %s at %s: the frames may differ in their last bits", r->replay,
                log->level, log->precision, r->setup.device->level, zt_precision_names[info->precision]);
    r->seed = log->seed;
    r->fps = r->fps ? r->fps : log->fps;
    const int64_t frames = (int64_t)ZT_MIN(log->frames, INT32_MAX);
    r->frames = r->frames ? ZT_MIN(r->frames, frames) : frames;
    return 0;
}

// The first picture, at the model's own size.
static int read_image(render *r, const zt_model_info *info)
{
    if (!r->image)
        return 0;
    r->picture = calloc((size_t)(3 * info->w * info->h), sizeof(*r->picture));
    if (!r->picture)
        return ZT_EXIT_UNAVAILABLE;
    const int err = zt_picture_read(r->image, info->w, info->h, r->picture);
    return err ? zt_exit_input(err) : 0;
}

static int open_all(render *r)
{
    int code = zt_setup_open(&r->setup, true);
    if (code)
        return code;
    code = r->replay ? open_log(r) : 0;
    if (code)
        return code;
    const zt_model_info *info = zt_model_get_info(r->setup.model);
    r->fps = r->fps ? r->fps : info->fps;
    r->frames = r->frames ? r->frames : 10 * r->fps;
    code = read_image(r, info);
    if (!code && r->events_path)
        code = zt_events_read(&r->events, r->events_path, r->setup.model);
    if (!code && r->sheet_path && zt_sheet_create(&r->sheet, r->log ? r->log->w : info->w, r->log ? r->log->h : info->h, r->frames) < 0)
        code = ZT_EXIT_UNAVAILABLE;
    if (!code && zt_progress_open(&r->progress, r->progress_path, r->frames, r->common.quiet) < 0)
        code = ZT_EXIT_NO_OUTPUT;
    if (!code && was_interrupted())
        code = ZT_EXIT_AGAIN;
    return code ? code : open_stream(r, info);
}

static int run(render *r)
{
    const bool again = r->log && !r->steps;         // with --steps better, else just so
    const zt_session_params p = {
        .prompt = r->prompt,
        .image = r->picture,
        .event = r->log ? r->log->event : r->events.event,
        .events = r->log ? r->log->events : r->events.n,
        .w = r->log ? r->log->w : 0,
        .h = r->log ? r->log->h : 0,
        .script = again ? r->log->script : NULL,
        .scripted = again ? r->log->frames : 0,
        .fps = (int)r->fps,
        .steps_max = (int)r->steps,
        .seed = r->seed,
        .frames = (uint64_t)r->frames,
        .offline = true,
        .pool = 16,
        .on_frame = on_frame,
        .cookie = r,
    };
    int err = zt_session_create(&r->session, r->setup.engine, &p);
    if (err < 0)
        return err == -EINVAL ? ZT_EXIT_USAGE : ZT_EXIT_UNAVAILABLE;
    zt_setup_report_prompt(&r->setup, r->session);
    err = zt_session_wait(r->session);
    if (err < 0)
        return err == -ENOMEM ? ZT_EXIT_UNAVAILABLE : ZT_EXIT_BUG;
    err = r->push_error ? r->push_error : zt_stream_finish(r->stream);
    r->cut = err == -EINTR;
    if (err < 0)
        return r->cut ? ZT_EXIT_AGAIN : ZT_EXIT_NO_OUTPUT;
    if (r->sheet && zt_sheet_write(r->sheet, r->sheet_path) < 0)
        return ZT_EXIT_NO_OUTPUT;
    return r->written < r->frames ? ZT_EXIT_AGAIN : ZT_EXIT_OK;
}

static int run_batch(render *r)
{
    signal(SIGXFSZ, SIG_IGN);           // a limit on sizes is a full disk
    r->batch.setup = r->setup;
    r->batch.out = r->out;
    r->batch.progress = r->progress_path;
    r->batch.submit = r->submit ? submits[r->submit] : NULL;
    r->batch.overwrite = r->overwrite;
    r->batch.quiet = r->common.quiet;
    r->batch.interrupted = &interrupted;
    return zt_batch_run(&r->batch);
}

int main(int argc, char **argv)
{
    static render r = { .crf = -1, .batch = { .chunk = 240 } };
    int code = parse(&r, argc, argv);
    if (code >= 0)
        return code;
    if (r.batch.manifest) {
        catch_signals();
        return run_batch(&r);
    }
    code = check_output(r.out, r.overwrite);
    if (!code && r.sheet_path)
        code = check_output(r.sheet_path, r.overwrite);
    if (code)
        return code;
    catch_signals();
    code = open_all(&r);
    if (!code) {
        code = run(&r);
        zt_progress_close(&r.progress, r.written, zt_now(),
                          !code                   ? "end"
                          : code == ZT_EXIT_AGAIN ? "interrupted"
                                                  : "failed");
        if (code == ZT_EXIT_AGAIN && !r.cut)
            zt_warn("interrupted: %s is complete with %lld of %lld frames", strcmp(r.out, "-") ? r.out : "the output",
                    (long long)r.written, (long long)r.frames);
    }
    zt_stream_close(&r.stream);         // before the session that its packets are reported to; that one is done
    zt_session_destroy(&r.session);
    zt_sheet_destroy(&r.sheet);
    zt_events_finish(&r.events);
    zt_replay_free(&r.log);
    free(r.picture);
    zt_setup_close(&r.setup);
    return code;
}
