// SPDX-License-Identifier: Apache-2.0
// Confines the child that reads untrusted files by libseccomp: memory and two descriptors, anything else kills it.
#include "diffusion/apart.h"

#include <errno.h>
#include <seccomp.h>
#include <sys/mman.h>

#include "base/base.h"

// Memory, and what ends a process.
static const int allowed[] = {
    SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(futex), SCMP_SYS(sched_yield),
    SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(clock_gettime), SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(sysinfo),
};

// No memory that can be run, no files.
static int allow_memory(scmp_filter_ctx c)
{
    int err = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2,
                               SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
                               SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS));
    if (!err)
        err = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    return err;
}

int zt_apart_confine(int fd, int farewell)
{
    const scmp_filter_ctx c = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!c)
        return -ENOMEM;
    int err = allow_memory(c);
    for (size_t i = 0; i < ZT_LEN(allowed) && !err; i++)
        err = seccomp_rule_add(c, SCMP_ACT_ALLOW, allowed[i], 0);
    if (!err)
        err = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(read), 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)fd));
    if (!err)
        err = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(write), 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)fd));
    if (!err)
        err = seccomp_rule_add(c, SCMP_ACT_ALLOW, SCMP_SYS(write), 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)farewell));
    if (!err)
        err = seccomp_load(c);
    seccomp_release(c);
    return err;
}

int zt_apart_confines(void)
{
    return 1;
}
