// SPDX-License-Identifier: Apache-2.0
// Without OpenSSL's headers it ends as it likes.
#include "stream/plugins.h"

void zt_crypto_open(void)
{
}
