// SPDX-License-Identifier: Apache-2.0
// The kinds of decoders, and which one a model has.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/log.h"
#include "diffusion/decoder.h"

extern const zt_decoder_kind zt_decoder_tiny, zt_decoder_taehv, zt_decoder_wan;

// Where files of several lie beside a model, the first one wins: whoever adds a quick decoder wants it.
const zt_decoder_kind *const zt_decoders[] = { &zt_decoder_tiny, &zt_decoder_taehv, &zt_decoder_wan, NULL };

static bool found(const zt_decoder_kind *kind, const char *folder, char path[4096])
{
    for (int i = 0; i < (int)ZT_LEN(kind->files) && kind->files[i]; i++) {
        if (snprintf(path, 4096, "%s%s", folder, kind->files[i]) < 4096 && access(path, F_OK) == 0)
            return true;
    }
    return false;
}

int zt_decoder_open(zt_decoder *k, const zt_decoder_source *s, const char *folder)
{
    const char *const wanted = s->c->decoder;
    char path[4096];
    *k = (zt_decoder){ 0 };
    for (const zt_decoder_kind *const *i = zt_decoders; *i; i++) {
        const bool beside = found(*i, folder, path);
        if (wanted[0] ? strcmp((*i)->name, wanted) != 0 : !beside)
            continue;
        zt_decoder_source own = *s;
        own.path = beside ? path : NULL;
        k->kind = *i;
        int err = (*i)->open(k, &own);
        if (!err && k->channels != s->c->out_dim) {
            zt_error("%s: the decoder takes latents of %d channels, the model makes %d", beside ? path : folder, k->channels,
                     s->c->out_dim);
            err = -EINVAL;
        }
        if (err)
            zt_decoder_close(k);
        return err;
    }
    return 0;
}

void zt_decoder_close(zt_decoder *k)
{
    if (k->kind && k->self)
        k->kind->close(k);
    *k = (zt_decoder){ 0 };
}
