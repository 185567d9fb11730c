// SPDX-License-Identifier: Apache-2.0
// Two seconds of a prompt as y4m: cc frames.c -o frames $(pkg-config --cflags --libs zoetrope); ./frames "a storm" | mpv -
#include <stdio.h>
#include <zoetrope/zoetrope.h>

static void on_frame(void *cookie, zt_frame *f)         // on the engine's thread
{
    fputs("FRAME\n", cookie);
    for (int i = 0; i < 3; i++)
        for (int y = 0; y < (i ? f->h / 2 : f->h); y++)
            fwrite(f->plane[i] + y * f->pitch[i], 1, (size_t)(i ? f->w / 2 : f->w), cookie);
}

int main(int argc, char **argv)
{
    zt_device *device = NULL;
    zt_model *model = NULL;
    zt_engine *engine = NULL;
    zt_session *session = NULL;
    const zt_session_params p = { .prompt = argc > 1 ? argv[1] : NULL, .frames = 48, .offline = true, .on_frame = on_frame,
                                  .cookie = stdout };
    bool ok = !zt_device_open(&device, NULL)
              && !zt_model_open(&model, device, zt_path_default_model(), ZT_PRECISION_DEFAULT)
              && !zt_engine_create(&engine, device, model);
    if (ok) {
        const zt_model_info *info = zt_model_get_info(model);
        printf("YUV4MPEG2 W%d H%d F%d:1 Ip A1:1 C420mpeg2 XYSCSS=420MPEG2 XCOLORRANGE=LIMITED\n", info->w, info->h, info->fps);
        ok = !zt_session_create(&session, engine, &p) && !zt_session_wait(session);
    }
    zt_session_destroy(&session);       // each takes NULL inside
    zt_engine_destroy(&engine);
    zt_model_close(&model);
    zt_device_close(&device);
    return ok ? 0 : 1;                  // what failed has been said
}
