// SPDX-License-Identifier: Apache-2.0
// Ranks on GPUs through NCCL, which is opened at run time: nothing of it is needed to build. Its functions are declared here as
// NCCL 2 has them (nccl.h). Never run yet: doc/cuda.md.
#include "kernels/comm.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#include "base/base.h"
#include "base/log.h"
#include "kernels/backend.h"

enum { FLOAT32 = 7 };                   // ncclFloat32

static struct nccl {
    int (*get_id)(zt_comm_id *id);
    int (*init_rank)(void **comm, int size, zt_comm_id id, int rank);
    int (*destroy)(void *comm);
    int (*group_start)(void), (*group_end)(void);
    int (*send)(const void *from, size_t n, int type, int peer, void *comm, void *stream);
    int (*receive)(void *to, size_t n, int type, int peer, void *comm, void *stream);
    int (*all_gather)(const void *from, void *to, size_t n, int type, void *comm, void *stream);
    const char *(*text)(int result);
} nccl;

typedef struct member {
    zt_comm comm;
    void   *own;                        // ncclComm_t
} member;

// Before ranks have threads.
static int open_library(void)
{
    const struct {
        const char *name;
        void       *to;                 // of some function's type
    } list[] = {
        { "ncclGetUniqueId", &nccl.get_id }, { "ncclCommInitRank", &nccl.init_rank }, { "ncclCommDestroy", &nccl.destroy },
        { "ncclGroupStart", &nccl.group_start }, { "ncclGroupEnd", &nccl.group_end }, { "ncclSend", &nccl.send },
        { "ncclRecv", &nccl.receive }, { "ncclAllGather", &nccl.all_gather }, { "ncclGetErrorString", &nccl.text },
    };
    if (nccl.text)
        return 0;
    void *const library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    for (size_t i = 0; library && i < ZT_LEN(list); i++) {
        void *const symbol = dlsym(library, list[i].name);
        memcpy(list[i].to, &symbol, sizeof(symbol));
        if (!symbol)
            break;
    }
    if (nccl.text)
        return 0;
    zt_error("several GPUs: %s", library ? "libnccl.so.2 is of another version" : dlerror());
    return -ENODEV;
}

static int check(zt_device *d, int result)
{
    if (result == 0)
        return 0;
    zt_error("several GPUs: %s", nccl.text(result));
    if (d)
        d->error = d->error ? d->error : -EIO;
    return -EIO;
}

static void *stream_of(const zt_device *d)
{
    return d->backend->stream(d->queue);
}

static void all_to_all(zt_comm *c, zt_device *d, float *to, const float *from, size_t n)
{
    void *const own = ((member *)c)->own, *const stream = stream_of(d);
    int result = nccl.group_start();
    for (int q = 0; q < c->size && !result; q++) {
        result = nccl.send(from + (size_t)q * n, n, FLOAT32, q, own, stream);
        result = result ? result : nccl.receive(to + (size_t)q * n, n, FLOAT32, q, own, stream);
    }
    const int ended = nccl.group_end();
    check(d, result ? result : ended);
}

static void all_gather(zt_comm *c, zt_device *d, float *to, const float *from, size_t n)
{
    check(d, nccl.all_gather(from, to, n, FLOAT32, ((member *)c)->own, stream_of(d)));
}

static void send(zt_comm *c, zt_device *d, const float *from, size_t n)
{
    check(d, nccl.send(from, n, FLOAT32, (c->rank + 1) % c->size, ((member *)c)->own, stream_of(d)));
}

static void receive(zt_comm *c, zt_device *d, float *to, size_t n)
{
    check(d, nccl.receive(to, n, FLOAT32, (c->rank + c->size - 1) % c->size, ((member *)c)->own, stream_of(d)));
}

static void leave(zt_comm *c)
{
    nccl.destroy(((member *)c)->own);
    zt_free(c);
}

int zt_comm_nccl_id(zt_comm_id *id)
{
    const int err = open_library();
    return err ? err : check(NULL, nccl.get_id(id));
}

int zt_comm_nccl(zt_comm **out, zt_device *d, int rank, int size, const zt_comm_id *id)
{
    int err = open_library();
    if (!err && !d->backend) {
        zt_error("several GPUs: this device is none");
        err = -ENODEV;
    }
    if (err)
        return err;
    member *const one = zt_alloc(sizeof(*one));
    if (!one)
        return -ENOMEM;
    one->comm = (zt_comm){ rank, size, all_to_all, all_gather, send, receive, leave };
    err = check(NULL, nccl.init_rank(&one->own, size, *id, rank));
    if (err)
        zt_free(one);
    else
        *out = &one->comm;
    return err;
}
