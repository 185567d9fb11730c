// SPDX-License-Identifier: Apache-2.0
// Where the shipped model is.
#pragma once

// Beside the source where that exists, else where it is installed. (-m and ZOETROPE_MODEL come before.)
const char *zt_path_default_model(void);
