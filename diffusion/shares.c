// SPDX-License-Identifier: Apache-2.0
// Passes of many states: each thread takes whole states through the pass, and waits for others at the end only.
//
// Where all threads share out the rows of each operation, they meet after each: that costs them a few microseconds, and
// the time for which the kernel lets an encoder have one's core. With a state or more for each there is no need to.
#include <errno.h>
#include <stdlib.h>

#include "base/base.h"
#include "diffusion/internal.h"

int zt_shares_open(zt_model *m)
{
    const int n = m->d->space == ZT_HOST ? m->d->threads : 1;
    if (n < 2 || n > ZT_MAX_JOBS)
        return 0;
    m->share = calloc((size_t)n, sizeof(*m->share));
    if (!m->share)
        return -ENOMEM;
    for (; m->shares < n; m->shares++) {
        struct zt_share *const s = &m->share[m->shares];
        for (int net = 0; net < m->nets; net++) {
            s->dit[net] = *(net ? &m->high : &m->dit);
            s->dit[net].work = (zt_work){ 0 };
        }
    }
    return 0;
}

void zt_shares_finish(zt_model *m)
{
    for (int i = 0; i < m->shares; i++) {
        for (int net = 0; net < m->nets; net++)
            zt_dit_release(&m->share[i].dit[net]);
    }
    free(m->share);
}

// Tokens that a job takes through the pass.
static int64_t weight(const zt_model *m, const zt_job *job)
{
    const zt_state *const s = job->s;
    const int again = s->recache ? zt_recached(&m->c) : job->pass == ZT_COMMIT_DENOISE && zt_model_remembers(m);
    return (int64_t)(s->lw / 2) * (s->lh / 2) * (1 + again);
}

// The heaviest first, each to whoever has least.
static void deal(zt_model *m, const zt_job *job, int n, int64_t load[])
{
    bool dealt[ZT_MAX_JOBS] = { false };
    for (int k = 0; k < n; k++) {
        int next = -1, to = 0;
        for (int i = 0; i < n; i++)
            if (!dealt[i] && (next < 0 || weight(m, &job[i]) > weight(m, &job[next])))
                next = i;
        for (int i = 1; i < m->shares; i++)
            to = load[i] < load[to] ? i : to;
        dealt[next] = true;
        m->part_of[next] = to;
        load[to] += weight(m, &job[next]);
    }
}

int zt_shares_divide(zt_model *m, const zt_job *job, int n)
{
    int64_t load[ZT_MAX_JOBS] = { 0 }, all = 0, most = 0;
    if (!m->shares || n < m->shares)
        return 1;
    deal(m, job, n, load);
    for (int i = 0; i < m->shares; i++) {
        all += load[i];
        most = ZT_MAX(most, load[i]);
    }
    return most * m->shares * 8 <= all * 9 ? m->shares : 1;
}
