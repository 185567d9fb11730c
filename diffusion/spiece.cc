// SPDX-License-Identifier: Apache-2.0
// Calls libsentencepiece; nothing that it throws gets out.
#include "diffusion/spiece.h"

#include <memory>
#include <vector>

#include <sentencepiece_processor.h>

struct zt_spiece {
    sentencepiece::SentencePieceProcessor p;
};

int zt_spiece_here(void)
{
    return 1;
}

zt_spiece *zt_spiece_open(const void *bytes, size_t n)
try {
    if (!zt_spiece_check(bytes, n))
        return nullptr;
    std::unique_ptr<zt_spiece> s(new zt_spiece);        // the library may throw
    if (s->p.LoadFromSerializedProto(absl::string_view(static_cast<const char *>(bytes), n)).ok())
        return s.release();
    return nullptr;
} catch (...) {
    return nullptr;
}

void zt_spiece_close(zt_spiece *s)
{
    delete s;
}

int zt_spiece_pieces(const zt_spiece *s)
{
    return s->p.GetPieceSize();
}

int zt_spiece_encode(const zt_spiece *s, const char *text, size_t n, int *id, int max)
try {
    std::vector<int> ids;
    if (!s->p.Encode(absl::string_view(text, n), &ids).ok())
        return -1;
    for (size_t i = 0; i < ids.size() && i < static_cast<size_t>(max); i++)
        id[i] = ids[i];
    return static_cast<int>(ids.size());
} catch (...) {
    return -1;
}
