// SPDX-License-Identifier: Apache-2.0
// Prompts to token ids, by a sentencepiece model that lives in a confined child process (apart.h).
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { ZT_PROMPT_MAX = 64 << 10, ZT_TOKENIZER_MAX = 64 << 20, ZT_TOKEN_END = 1 };

typedef struct zt_tokenizer zt_tokenizer;

// A spiece.model file of at most 64 MiB. 0, -ENOENT, -EINVAL (no such model: logged), -ENOMEM, -ENOTSUP (built without
// libsentencepiece: logged).
int  zt_tokenizer_open(zt_tokenizer **out, const char *path);
void zt_tokenizer_close(zt_tokenizer **t);
// Ids of the cleaned text (zt_prompt_clean()), cut so that the end token, 1, is always the last; id[max], max >= 1. How many
// there are; -EINVAL (not UTF-8, over 64 KiB, or the child broke: logged), -ENOMEM. One thread at a time.
int  zt_tokenizer_encode(zt_tokenizer *t, const char *text, int32_t *id, int max);
// Token ids are below this.
int  zt_tokenizer_pieces(const zt_tokenizer *t);

// What Wan does to a prompt before it is tokenised, into out[bytes] (a text never grows by more than half): HTML entities
// twice, straight quotes, plain ligatures and full-width letters, no terminal escapes or control characters, runs of white
// space become one space. Unlike ftfy, which the reference calls, it does not repair text that was decoded wrongly and leaves
// composition (NFC) to the tokenizer's own normalisation. 0, -EINVAL (not UTF-8), -ENOSPC.
int  zt_prompt_clean(const char *text, char *out, size_t bytes);

#ifdef __cplusplus
}
#endif
