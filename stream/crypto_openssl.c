// SPDX-License-Identifier: Apache-2.0
// How OpenSSL, which webrtcbin's DTLS runs on, ends. webrtcbin has threads that nobody can wait for: they may still be ending
// when the program does, and OpenSSL, if it tidied up at exit, would free what they free.
#include <openssl/crypto.h>

#include "stream/plugins.h"

void zt_crypto_open(void)
{
    OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
}
