// SPDX-License-Identifier: Apache-2.0
// Runs zoetrope-serve as a child, for tests of the whole program.
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"

typedef struct serving {
    pid_t pid;
    char  url[128], rtsp[128];      // "http://127.0.0.1:PORT/"
    char  log[64];
} serving;

// Waits until it serves. False: it did not start; its log has been printed.
static inline bool serve_start(serving *s, const char *program, const char *const *more)
{
    const char *argv[32] = { program, "--listen", "127.0.0.1:0", "--rtsp", "127.0.0.1:0" };
    int n = 5;
    while (*more && n < 31)
        argv[n++] = *more++;
    strcpy(s->log, "/tmp/zt-serve-XXXXXX");
    const int fd = mkstemp(s->log);
    s->pid = fork();
    if (!s->pid) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(fd, 2);
        setenv("ASAN_OPTIONS", "detect_leaks=0", 0);
        execv(program, (char *const *)argv);
        _exit(127);
    }
    close(fd);
    for (int i = 0; i < 1200; i++) {
        char line[512], scheme[8];
        FILE *f = fopen(s->log, "r");
        while (f && fgets(line, sizeof(line), f)) {
            const char *at = strstr(line, "serving http");
            if (at && sscanf(at, "serving %127s %127s", s->url, s->rtsp) >= 1 && sscanf(s->url, "%7[a-z]", scheme) == 1) {
                fclose(f);
                return true;
            }
        }
        if (f)
            fclose(f);
        if (waitpid(s->pid, NULL, WNOHANG))
            break;
        zt_sleep_until(zt_now() + 50 * ZT_MS);
    }
    char command[128];
    snprintf(command, sizeof(command), "cat %s; rm %s", s->log, s->log);
    return system(command) < 0;
}

// Its exit code; -1: it was killed.
static inline int serve_stop(serving *s)
{
    int status = 0;
    kill(s->pid, SIGTERM);
    waitpid(s->pid, &status, 0);
    unlink(s->log);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
