/* A fake of NVIDIA's driver library, for tests of the glue alone: memory is the host's, a "cubin" is the path of the plain
 * kernels' library, a launch calls them at once. FAKE_CUDA=call:code makes a call fail, FAKE_CUDA_VERSION sets the version.
 * There is one stream that records, for graphs are. FAKE_CUDA_LEFT=1 prints what was made and never given back.
 * The prototypes are those of cuda.h: with -DCUDA_H the compiler holds them against it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef CUDA_H
#include <cuda.h>
#else
typedef int CUresult, CUdevice, CUdevice_attribute, CUfunction_attribute, CUstreamCaptureMode;
typedef void *CUcontext, *CUmodule, *CUfunction, *CUstream, *CUevent, *CUgraph, *CUgraphExec;
typedef unsigned long long CUdeviceptr;
#endif

static CUresult told(const char* name) {
    const char* plan = getenv("FAKE_CUDA");
    const size_t length = strlen(name);
    if (plan && !strncmp(plan, name, length) && plan[length] == ':') return atoi(plan + length + 1);
    return 0;
}
#define TOLD do { CUresult result = told(__func__); if (result) return result; } while (0)

enum { BLOCKS, PINNED, STREAMS, EVENTS, MODULES, GRAPHS, CONTEXTS, KINDS };
static int left[KINDS];
__attribute__((destructor)) static void report(void) {
    static const char* names[KINDS] = {"blocks", "pinned", "streams", "events", "modules", "graphs", "contexts"};
    for (int i = 0; getenv("FAKE_CUDA_LEFT") && i < KINDS; ++i)
        if (left[i]) printf("left: %d %s\n", left[i], names[i]);
}

/* What a graph holds: copies and fills by their arguments, kernels with a copy of their parameters. */
typedef struct Work {
    char kind;
    void *to, *from;
    size_t size;
    int value, grid[3], threads;
    unsigned char params[128];
} Work;
typedef struct Graph {
    int count;
    Work work[256];
} Graph;
static Graph* recording;

static void do_work(Work* work) {
    if (work->kind == 'c') memcpy(work->to, work->from, work->size);
    if (work->kind == 's') memset(work->to, work->value, work->size);
    if (work->kind == 'k') {
        void* room = aligned_alloc(128, (work->size + 255) / 128 * 128);
        ((void (*)(const int*, int, void*, void*))work->to)(work->grid, work->threads, room, work->params);
        free(room);
    }
}
static CUresult queue(Work work) {
    if (recording) recording->work[recording->count++] = work;
    else do_work(&work);
    return 0;
}

CUresult cuInit(unsigned flags) { TOLD; return flags; }
CUresult cuDriverGetVersion(int* version) {
    const char* text = getenv("FAKE_CUDA_VERSION");
    *version = text ? atoi(text) : 13000;
    return 0;
}
CUresult cuGetErrorName(CUresult code, const char** text) { (void)code; *text = "CUDA_ERROR_FAKE"; return 0; }
CUresult cuDeviceGet(CUdevice* device, int number) { TOLD; *device = number; return number ? 101 : 0; }
CUresult cuDeviceGetName(char* name, int size, CUdevice device) { (void)device; snprintf(name, size, "Fake GPU"); return 0; }
CUresult cuDeviceGetPCIBusId(char* text, int size, CUdevice device) { snprintf(text, size, "0000:0%d:00.0", 7 + device); return 0; }
CUresult cuDeviceTotalMem_v2(size_t* bytes, CUdevice device) { (void)device; *bytes = (size_t)8 << 30; return 0; }
CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice device) {
    (void)device;
    const int which = (int)attribute;
    *value = which == 75 ? 7 : which == 76 ? 5 : which == 16 ? 4 : which == 97 ? 99 << 10 : 0;
    return 0;
}
CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) { TOLD; (void)device; ++left[CONTEXTS]; *context = (void*)1; return 0; }
CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) { (void)device; --left[CONTEXTS]; return 0; }
CUresult cuCtxSynchronize(void) { TOLD; return 0; }
CUresult cuCtxSetCurrent(CUcontext context) { return context ? 0 : 201; }
CUresult cuMemAlloc_v2(CUdeviceptr* at, size_t size) { TOLD; ++left[BLOCKS]; *at = (CUdeviceptr)aligned_alloc(256, (size + 511) / 256 * 256); return 0; }
CUresult cuMemFree_v2(CUdeviceptr at) { TOLD; --left[BLOCKS]; free((void*)at); return 0; }
CUresult cuMemAllocHost_v2(void** at, size_t size) { ++left[PINNED]; *at = calloc(size, 1); return 0; }
CUresult cuMemFreeHost(void* at) { TOLD; --left[PINNED]; free(at); return 0; }
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t size, CUstream s) { (void)s; return queue((Work){'c', (void*)to, (void*)from, size}); }
CUresult cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t size, CUstream s) { (void)s; return queue((Work){'c', to, (void*)from, size}); }
CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream s) { (void)s; return queue((Work){'c', (void*)to, (void*)from, size}); }
CUresult cuMemsetD8Async(CUdeviceptr at, unsigned char value, size_t size, CUstream s) { (void)s; return queue((Work){'s', (void*)at, 0, size, value}); }
CUresult cuStreamCreate(CUstream* stream, unsigned flags) { (void)flags; ++left[STREAMS]; *stream = (void*)2; return 0; }
CUresult cuStreamDestroy_v2(CUstream stream) { TOLD; (void)stream; --left[STREAMS]; return 0; }
CUresult cuStreamSynchronize(CUstream stream) { TOLD; (void)stream; return recording ? 900 : 0; }
CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned flags) { (void)stream; (void)event; return flags; }
CUresult cuEventCreate(CUevent* event, unsigned flags) { ++left[EVENTS]; *event = (void*)3; return flags; }
CUresult cuEventDestroy_v2(CUevent event) { TOLD; (void)event; --left[EVENTS]; return 0; }
CUresult cuEventRecord(CUevent event, CUstream stream) { (void)event; (void)stream; return 0; }
CUresult cuEventSynchronize(CUevent event) { (void)event; return 0; }
CUresult cuEventElapsedTime(float* ms, CUevent first, CUevent last) { (void)first; (void)last; *ms = 1.5f; return 0; }
CUresult cuModuleLoadData(CUmodule* module, const void* image) {
    TOLD;
    *module = dlopen((const char*)image, RTLD_NOW);
    left[MODULES] += *module != 0;
    return *module ? 0 : 200;
}
CUresult cuModuleUnload(CUmodule module) { TOLD; (void)module; --left[MODULES]; return 0; }
CUresult cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
    *function = dlsym(module, name);
    return *function ? 0 : 500;
}
CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
    (void)function;
    return (int)attribute == 8 && value >= 0 ? 0 : 1;
}
CUresult cuLaunchKernel(CUfunction function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                        unsigned shared, CUstream stream, void** params, void** extra) {
    TOLD;
    Work work = {'k', (void*)function, 0, shared, 0, {(int)gx, (int)gy, (int)gz}, (int)bx};
    if (by != 1 || bz != 1 || extra || !stream) return 1;
    /* The real driver knows each kernel's size of parameters; none here is larger, and what is read beyond is the stack's. */
    memcpy(work.params, params[0], sizeof work.params);
    return queue(work);
}

CUresult cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode mode) {
    TOLD;
    if (!stream || (int)mode != 2 || recording) return 1;
    recording = calloc(1, sizeof *recording);
    return 0;
}
CUresult cuStreamEndCapture(CUstream stream, CUgraph* graph) {
    const CUresult result = told(__func__);
    (void)stream;
    if (!recording) return 1;
    if (result) free(recording);
    *graph = result ? 0 : (void*)recording;
    recording = 0;
    left[GRAPHS] += !result;
    return result;
}
CUresult cuGraphInstantiateWithFlags(CUgraphExec* runnable, CUgraph graph, unsigned long long flags) {
    Graph* copy;
    TOLD;
    copy = malloc(sizeof *copy);
    memcpy(copy, (void*)graph, sizeof *copy);
    ++left[GRAPHS];
    *runnable = (void*)copy;
    return (int)flags;
}
CUresult cuGraphDestroy(CUgraph graph) { --left[GRAPHS]; free((void*)graph); return 0; }
CUresult cuGraphExecDestroy(CUgraphExec runnable) { TOLD; --left[GRAPHS]; free((void*)runnable); return 0; }
CUresult cuGraphLaunch(CUgraphExec runnable, CUstream stream) {
    Graph* graph = (Graph*)(void*)runnable;
    TOLD;
    if (!stream) return 1;
    for (int i = 0; i < graph->count; ++i) do_work(&graph->work[i]);
    return 0;
}
