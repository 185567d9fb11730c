// SPDX-License-Identifier: Apache-2.0
// Exit codes of the programs (sysexits.h, as far as they are used).
#pragma once

#include <errno.h>

enum {
    ZT_EXIT_OK          = 0,
    ZT_EXIT_USAGE       = 64,   // bad flag or value
    ZT_EXIT_DATA        = 65,   // bad content of a file
    ZT_EXIT_NO_INPUT    = 66,   // an input is missing
    ZT_EXIT_UNAVAILABLE = 69,   // device, memory, port or plugin
    ZT_EXIT_BUG         = 70,
    ZT_EXIT_NO_OUTPUT   = 73,   // cannot write, or it exists
    ZT_EXIT_AGAIN       = 75,   // interrupted: run again to go on
};

// Of an input that could not be opened: missing, bad, or too much for this machine.
static inline int zt_exit_input(int err)
{
    switch (-err) {
    case 0:       return ZT_EXIT_OK;
    case ENOENT:  case EACCES: case EISDIR: case ENOTDIR: case EPERM: return ZT_EXIT_NO_INPUT;
    case ENOMEM:  case ENODEV: case ENOTSUP: case ENOSYS: case EADDRINUSE: case EADDRNOTAVAIL: case EAGAIN:
        return ZT_EXIT_UNAVAILABLE;
    case EINVAL:  case EBADMSG: case EFBIG: case EILSEQ: return ZT_EXIT_DATA;
    default:      return ZT_EXIT_NO_INPUT;
    }
}

// Of an output that could not be opened or written. EINTR: a signal came while a pipe waited for its reader.
static inline int zt_exit_output(int err)
{
    switch (-err) {
    case 0:       return ZT_EXIT_OK;
    case EINVAL:  return ZT_EXIT_USAGE;
    case EINTR:   return ZT_EXIT_AGAIN;
    case ENOMEM:  case ENOSYS: case ENODEV: case ENOTSUP: case EADDRINUSE: case EADDRNOTAVAIL:
        return ZT_EXIT_UNAVAILABLE;
    default:      return ZT_EXIT_NO_OUTPUT;
    }
}
