// SPDX-License-Identifier: Apache-2.0
// Choosing what to open: the list of models, file dialogs, things dropped on the window.
#pragma once

#include "apps/preview/preview.h"

#ifdef __cplusplus
extern "C" {
#endif

zt_models *zt_models_create(zt_preview *p);
void zt_models_destroy(zt_models **m);          // takes NULL inside

#ifdef __cplusplus
}
#endif
