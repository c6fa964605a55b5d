/* A CUDA driver, cuBLAS and NVRTC without a GPU: what `memplan calibrate` calls of them, for its tests.
 *
 * Memory is counted, not held: a table that all processes and libraries share (the file that FAKE_CUDA names) says what each
 * process holds, so that one sees another's context. Time passes only where kernels run: each takes what a roofline says, and
 * events read that clock, which stands in the table too.
 * Built by the tests as libcuda.so.1, libcublas.so.13 and libnvrtc.so.13 alike. */

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define API __attribute__((visibility("default")))
#define MIB (1ull << 20)
#define PAGE (2 * MIB)
#define OUT_OF_MEMORY 2

/* What the tests expect: tests/program/calibrate.rs. */
#define TOTAL (4096 * MIB)
#define CONTEXT (500 * MIB)
#define MODULE (2 * MIB)
#define BLAS (100 * MIB)
#define OVERHEAD 3e-6
#define BANDWIDTH 2e12
#define RATE_FP64 30e12
#define RATE_FP32 60e12
#define RATE_TF32 400e12
#define RATE_HALF 800e12
#define RATE_INT8 1500e12

typedef struct { int64_t pid; uint64_t bytes; double now; } Process;

static Process *table;

static Process *processes(void) {
    if (!table) {
        const char *path = getenv("FAKE_CUDA");
        int file = path ? open(path, O_RDWR | O_CREAT, 0600) : -1;
        if (file >= 0 && ftruncate(file, 64 * sizeof(Process)) == 0)
            table = mmap(NULL, 64 * sizeof(Process), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (!table || table == MAP_FAILED) table = calloc(64, sizeof(Process));
    }
    return table;
}

static Process *mine(void) {
    Process *vacant = NULL;
    for (Process *p = processes(); p < table + 64; p++) {
        if (p->pid == getpid()) return p;
        if (!vacant && (p->pid == 0 || kill(p->pid, 0) != 0)) vacant = p;
    }
    *vacant = (Process){.pid = getpid()};
    return vacant;
}

static void hold(int64_t bytes) { mine()->bytes += bytes; }

static uint64_t held(void) {
    uint64_t bytes = 0;
    for (Process *p = processes(); p < table + 64; p++)
        if (p->pid && kill(p->pid, 0) == 0) bytes += p->bytes;
    return bytes;
}

static void run(double flops, double rate, double bytes) {
    double computes = flops / rate, moves = bytes / BANDWIDTH;
    mine()->now += OVERHEAD + (computes > moves ? computes : moves);
}

/* ---- the driver ---- */

API int cuDriverGetVersion(int *version) { *version = getenv("FAKE_CUDA_VERSION") ? atoi(getenv("FAKE_CUDA_VERSION")) : 13000; return 0; }
API int cuInit(unsigned flags) { (void)flags; return getenv("FAKE_CUDA_NO_DEVICE") ? 100 : 0; }
API int cuDeviceGetCount(int *count) { *count = 1; return 0; }
API int cuDeviceGet(int *device, int number) { *device = number; return 0; }
API int cuDeviceGetName(char *name, int length, int device) { (void)device; snprintf(name, length, "NVIDIA H200"); return 0; }
API int cuDeviceGetAttribute(int *value, int attribute, int device) {
    (void)device;
    *value = attribute == 75 ? 9 : attribute == 76 ? 0 : attribute == 16 ? 132 : 1; /* 9.0, 132 multiprocessors */
    return 0;
}
API int cuDevicePrimaryCtxRetain(void **context, int device) { (void)device; *context = processes(); hold(CONTEXT); return 0; }
API int cuDevicePrimaryCtxRelease_v2(int device) { (void)device; hold(-(int64_t)CONTEXT); return 0; }
API int cuCtxSetCurrent(void *context) { (void)context; return 0; }
API int cuCtxGetCurrent(void **context) { *context = processes(); return 0; }
API int cuCtxSynchronize(void) { return 0; }
API int cuMemGetInfo_v2(size_t *free, size_t *total) { *total = TOTAL; *free = TOTAL - held(); return 0; }
API int cuMemAlloc_v2(uint64_t *address, size_t bytes) {
    static uint64_t next = 1ull << 40;
    uint64_t pages = (bytes + PAGE - 1) / PAGE * PAGE;
    if (held() + pages > TOTAL) return OUT_OF_MEMORY;
    hold(pages);
    *address = next | (pages / PAGE) << 44; /* the size travels in the address */
    next += pages;
    return 0;
}
API int cuMemFree_v2(uint64_t address) { hold(-(int64_t)((address >> 44) * PAGE)); return 0; }
API int cuMemHostAlloc(void **pointer, size_t bytes, unsigned flags) { (void)flags; *pointer = malloc(bytes); return *pointer ? 0 : OUT_OF_MEMORY; }
API int cuMemFreeHost(void *pointer) { free(pointer); return 0; }
API int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *stream) { (void)to, (void)from, (void)bytes, (void)stream; return 0; }
API int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *stream) { (void)to, (void)from, (void)bytes, (void)stream; return 0; }
API int cuStreamCreate(void **stream, unsigned flags) { (void)flags; *stream = processes(); return 0; }
API int cuStreamDestroy_v2(void *stream) { (void)stream; return 0; }
API int cuStreamSynchronize(void *stream) { (void)stream; return 0; }
API int cuStreamWaitEvent(void *stream, void *event, unsigned flags) { (void)stream, (void)event, (void)flags; return 0; }
API int cuEventCreate(void **event, unsigned flags) { (void)flags; *event = calloc(1, sizeof(double)); return 0; }
API int cuEventRecord(void *event, void *stream) { (void)stream; *(double *)event = mine()->now; return 0; }
API int cuEventSynchronize(void *event) { (void)event; return 0; }
API int cuEventElapsedTime_v2(float *milliseconds, void *begin, void *end) { *milliseconds = (*(double *)end - *(double *)begin) * 1e3; return 0; }
API int cuEventDestroy_v2(void *event) { free(event); return 0; }
API int cuModuleLoadData(void **module, const void *image) { (void)image; *module = processes(); hold(MODULE); return 0; }
API int cuModuleUnload(void *module) { (void)module; return 0; }
API int cuModuleGetFunction(void **function, void *module, const char *name) { (void)module; *function = strdup(name); return 0; }
API int cuGetErrorName(int error, const char **name) { (void)error; *name = "an error"; return 0; }
API int cuGetErrorString(int error, const char **text) { (void)error; *text = "an error"; return 0; }
API int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                       void *stream, void **arguments, void **extra) {
    (void)gx, (void)gy, (void)gz, (void)bx, (void)by, (void)bz, (void)shared, (void)stream, (void)extra;
    const char *name = function;
    double n = 0;
    if (!strcmp(name, "touch")) n = *(uint64_t *)arguments[1], run(0, 1, n);
    else if (!strcmp(name, "copy")) n = *(uint64_t *)arguments[2], run(0, 1, 32 * n);
    else if (!strcmp(name, "add")) n = *(uint64_t *)arguments[3], run(4 * n, RATE_FP32, 48 * n);
    else if (!strcmp(name, "sum")) n = *(uint64_t *)arguments[2], run(n, RATE_FP32, 4 * n);
    else run(0, 1, 0);
    return 0;
}

/* ---- cuBLAS ---- */

API int cublasCreate_v2(void **handle) { *handle = processes(); hold(BLAS); return 0; }
API int cublasDestroy_v2(void *handle) { (void)handle; hold(-(int64_t)BLAS); return 0; }
API int cublasSetStream_v2(void *handle, void *stream) { (void)handle, (void)stream; return 0; }
API int cublasGemmEx(void *handle, int ta, int tb, int m, int n, int k, const void *alpha, const void *a, int at, int lda, const void *b,
                     int bt, int ldb, const void *beta, void *c, int ct, int ldc, int compute, int algorithm) {
    (void)handle, (void)ta, (void)tb, (void)alpha, (void)a, (void)lda, (void)b, (void)bt, (void)ldb, (void)beta, (void)c, (void)ldc, (void)algorithm;
    /* cudaDataType: 0 float32, 1 float64, 2 float16, 3 int8, 10 int32, 14 bfloat16; 77 is CUBLAS_COMPUTE_32F_FAST_TF32 */
    double element = at == 1 ? 8 : at == 0 ? 4 : at == 3 ? 1 : 2, result = ct == 1 ? 8 : ct == 0 || ct == 10 ? 4 : 2;
    double rate = at == 1 ? RATE_FP64 : at == 3 ? RATE_INT8 : at != 0 ? RATE_HALF : compute == 77 ? RATE_TF32 : RATE_FP32;
    run(2.0 * m * n * k, rate, element * ((double)m * k + (double)k * n) + result * (double)m * n);
    return 0;
}

/* ---- NVRTC ---- */

API int nvrtcCreateProgram(void **program, const char *source, const char *name, int headers, const char *const *texts, const char *const *names) {
    (void)source, (void)name, (void)headers, (void)texts, (void)names;
    *program = processes();
    return 0;
}
API int nvrtcCompileProgram(void *program, int count, const char *const *options) { (void)program, (void)count, (void)options; return 0; }
API int nvrtcGetPTXSize(void *program, size_t *size) { (void)program; *size = 1; return 0; }
API int nvrtcGetPTX(void *program, char *ptx) { (void)program; *ptx = 0; return 0; }
API int nvrtcDestroyProgram(void **program) { *program = NULL; return 0; }
API int nvrtcGetProgramLogSize(void *program, size_t *size) { (void)program; *size = 1; return 0; }
API int nvrtcGetProgramLog(void *program, char *log) { (void)program; *log = 0; return 0; }
