// SPDX-License-Identifier: Apache-2.0
// The queue behind libzt_cuda.so: one device, one stream, its memory.
#include "kernels/cuda.cuh"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backend_cuda.h"

void (*zt_cuda_log)(enum zt_level level, const char *fmt, ...);

typedef struct queue {
    cudaStream_t   stream;
    cudaDeviceProp is;
    int            error;       // the first of this queue's own calls
} queue;

static void explain(char *why, size_t room, const char *what, cudaError_t e)
{
    snprintf(why, room, "%s (%s: %s)", what, cudaGetErrorName(e), cudaGetErrorString(e));
    for (char *s = why; *s; s++)
        *s = *s == '\n' ? ' ' : *s;
}

int zt_cuda_count(char *why, size_t room)
{
    int n = 0;
    const cudaError_t e = cudaGetDeviceCount(&n);
    if (e == cudaSuccess && n > 0)
        return n;
    explain(why, room, "no CUDA device", e);
    return 0;
}

static cudaError_t start(queue *q, int ordinal)
{
    cudaError_t e = cudaSetDevice(ordinal);
    if (e == cudaSuccess)
        e = cudaGetDeviceProperties(&q->is, ordinal);
    if (e == cudaSuccess)
        e = cudaStreamCreateWithFlags(&q->stream, cudaStreamNonBlocking);
    return e;
}

int zt_cuda_open(void **out, int ordinal, uint32_t *have, char *why, size_t room)
{
    if (zt_cuda_count(why, room) <= ordinal)
        return -ENODEV;
    queue *const q = (queue *)calloc(1, sizeof(*q));
    if (!q) {
        snprintf(why, room, "no memory");
        return -ENOMEM;
    }
    const cudaError_t e = start(q, ordinal);
    if (e != cudaSuccess) {
        explain(why, room, "the CUDA device cannot be used", e);
        free(q);
        return e == cudaErrorMemoryAllocation ? -ENOMEM : -ENODEV;
    }
    if (q->is.major < 8) {
        snprintf(why, room, "%s is of compute capability %d.%d; 8.0 is needed", q->is.name, q->is.major, q->is.minor);
        zt_cuda_close(q);
        return -ENODEV;
    }
    *have = q->is.major == 9 && q->is.minor == 0 ? ZT_NEED_SM90 : 0;
    *out = q;
    return 0;
}

void zt_cuda_close(void *cookie)
{
    queue *const q = (queue *)cookie;
    cudaStreamSynchronize(q->stream);
    cudaStreamDestroy(q->stream);
    free(q);
}

static int keep(queue *q, cudaError_t e)
{
    if (e == cudaSuccess)
        return 0;
    const int err = e == cudaErrorMemoryAllocation ? -ENOMEM : -EIO;
    zt_cuda_log(ZT_LOG_ERROR, "cuda: %s: %s", cudaGetErrorName(e), cudaGetErrorString(e));
    q->error = q->error ? q->error : err;
    return err;
}

// Synchronous, so that memory is zero for every stream and for the host.
void *zt_cuda_alloc(void *cookie, size_t bytes)
{
    queue *const q = (queue *)cookie;
    void *p = NULL;
    if (cudaMalloc(&p, bytes ? bytes : 1) != cudaSuccess) {
        cudaGetLastError();                 // no memory is the caller's to report
        return NULL;
    }
    if (keep(q, cudaMemsetAsync(p, 0, bytes, q->stream)) < 0 || keep(q, cudaStreamSynchronize(q->stream)) < 0) {
        cudaFree(p);
        return NULL;
    }
    return p;
}

void zt_cuda_free(void *cookie, void *p)
{
    queue *const q = (queue *)cookie;
    if (!p)
        return;
    cudaStreamSynchronize(q->stream);       // what is queued may use it
    keep(q, cudaFree(p));
}

void *zt_cuda_alloc_host(void *cookie, size_t bytes)
{
    void *p = NULL;
    (void)cookie;
    if (cudaHostAlloc(&p, bytes ? bytes : 1, cudaHostAllocPortable | cudaHostAllocMapped) != cudaSuccess) {
        cudaGetLastError();
        return NULL;
    }
    memset(p, 0, bytes);
    return p;
}

void zt_cuda_free_host(void *cookie, void *p)
{
    queue *const q = (queue *)cookie;
    if (!p)
        return;
    cudaStreamSynchronize(q->stream);
    keep(q, cudaFreeHost(p));
}

int zt_cuda_copy(void *cookie, void *to, const void *from, size_t bytes)
{
    queue *const q = (queue *)cookie;
    const int err = keep(q, cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, q->stream));
    return err < 0 ? err : keep(q, cudaStreamSynchronize(q->stream));
}

int zt_cuda_copy_rows(void *cookie, void *to, size_t to_step, const void *from, size_t from_step, size_t bytes, size_t rows)
{
    queue *const q = (queue *)cookie;
    return keep(q, cudaMemcpy2DAsync(to, to_step, from, from_step, bytes, rows, cudaMemcpyDeviceToDevice, q->stream));
}

void *zt_cuda_stream_of(void *cookie)
{
    return ((queue *)cookie)->stream;
}

int zt_cuda_clear(void *cookie, void *p, size_t bytes)
{
    queue *const q = (queue *)cookie;
    return keep(q, cudaMemsetAsync(p, 0, bytes, q->stream));
}

int zt_cuda_sync(void *cookie)
{
    queue *const q = (queue *)cookie;
    keep(q, cudaStreamSynchronize(q->stream));
    const int err = q->error;
    q->error = 0;
    return err;
}

void zt_cuda_memory(void *cookie, size_t *left, size_t *all)
{
    *left = *all = 0;
    keep((queue *)cookie, cudaMemGetInfo(left, all));
}

const char *zt_cuda_name(void *cookie)
{
    return ((queue *)cookie)->is.name;
}

extern "C" cudaStream_t zt_cuda_stream(struct zt_device *d)
{
    return ((queue *)d->queue)->stream;
}

extern "C" void zt_cuda_launched(struct zt_device *d, const char *kernel)
{
    const cudaError_t e = cudaGetLastError();
    if (e == cudaSuccess || d->error)
        return;
    zt_cuda_log(ZT_LOG_ERROR, "cuda: %s did not start: %s: %s", kernel, cudaGetErrorName(e), cudaGetErrorString(e));
    d->error = -EIO;
}

// cudaFree waits for what is queued.
extern "C" void *zt_cuda_scratch(struct zt_device *d, size_t bytes)
{
    if (bytes <= d->scratch_bytes)
        return d->scratch;
    zt_cuda_free(d->queue, d->scratch);
    d->scratch = zt_cuda_alloc(d->queue, bytes);
    d->scratch_bytes = d->scratch ? bytes : 0;
    if (!d->scratch) {
        zt_cuda_log(ZT_LOG_ERROR, "cuda: no memory for %zu bytes", bytes);
        d->error = d->error ? d->error : -ENOMEM;
    }
    return d->scratch;
}

extern "C" void zt_cuda_refuse(struct zt_device *d, const char *what)
{
    zt_cuda_log(ZT_LOG_ERROR, "cuda: not at this level: %s", what);
    d->error = d->error ? d->error : -ENOTSUP;
}

// As many bytes as the parameters of a kernel may safely be.
struct parcel {
    uint32_t word[896];
};

static __global__ void unpack(uint32_t *to, parcel p, int words)
{
    for (int i = (int)threadIdx.x; i < words; i += (int)blockDim.x)
        to[i] = p.word[i];
}

extern "C" void zt_cuda_put(struct zt_device *d, void *to, const void *from, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += sizeof(parcel)) {
        const size_t n = bytes - at < sizeof(parcel) ? bytes - at : sizeof(parcel);
        parcel p = { { 0 } };
        memcpy(p.word, (const char *)from + at, n);
        ZT_LAUNCH(d, unpack, 1, 128, 0, (uint32_t *)((char *)to + at), p, (int)((n + 3) / 4));
    }
}
