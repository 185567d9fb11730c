// SPDX-License-Identifier: Apache-2.0
// The kinds of text encoders, and which one a model has.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "diffusion/text.h"

extern const zt_text_kind zt_text_words, zt_text_umt5;

const zt_text_kind *const zt_texts[] = { &zt_text_words, &zt_text_umt5, NULL };

static bool found(const zt_text_kind *kind, const char *folder, char path[4096])
{
    for (size_t i = 0; i < ZT_LEN(kind->files) && kind->files[i]; i++) {
        if (snprintf(path, 4096, "%s%s", folder, kind->files[i]) < 4096 && access(path, F_OK) == 0)
            return true;
    }
    return false;
}

int zt_text_open(zt_text_encoder *t, const zt_text_source *s)
{
    const char *const wanted = s->c->text.encoder;
    char path[4096];
    *t = (zt_text_encoder){ .d = s->d, .default_prompt = s->c->text.default_prompt };
    for (const zt_text_kind *const *i = zt_texts; *i; i++) {
        const bool beside = found(*i, s->folder, path);
        if (wanted[0] ? strcmp((*i)->name, wanted) != 0 : !beside)
            continue;
        zt_text_source own = *s;
        own.path = beside ? path : NULL;
        t->kind = *i;
        const int err = (*i)->open(t, &own);
        if (err)
            zt_text_close(t);
        return err;
    }
    return 0;
}

void zt_text_close(zt_text_encoder *t)
{
    if (t->kind && t->self)
        t->kind->close(t);
    *t = (zt_text_encoder){ 0 };
}
