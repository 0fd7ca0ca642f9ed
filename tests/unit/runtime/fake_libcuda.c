/* A fake of NVIDIA's driver library, for tests of the glue alone: memory is the host's, a "cubin" is the path of the plain
 * kernels' library, a launch calls them at once. FAKE_CUDA=call:code makes a call fail, FAKE_CUDA_VERSION sets the version.
 * The prototypes are those of cuda.h. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int CUresult, CUdevice;
typedef void *CUcontext, *CUmodule, *CUfunction, *CUstream, *CUevent, *CUgraph, *CUgraphExec;
typedef unsigned long long CUdeviceptr;

static CUresult told(const char* name) {
    const char* plan = getenv("FAKE_CUDA");
    const size_t length = strlen(name);
    if (plan && !strncmp(plan, name, length) && plan[length] == ':') return atoi(plan + length + 1);
    return 0;
}
#define TOLD do { CUresult result = told(__func__); if (result) return result; } while (0)

CUresult cuInit(unsigned flags) { TOLD; return flags; }
CUresult cuDriverGetVersion(int* version) {
    const char* text = getenv("FAKE_CUDA_VERSION");
    *version = text ? atoi(text) : 13000;
    return 0;
}
CUresult cuGetErrorName(CUresult code, const char** text) { (void)code; *text = "CUDA_ERROR_FAKE"; return 0; }
CUresult cuDeviceGet(CUdevice* device, int number) { TOLD; *device = number; return number ? 101 : 0; }
CUresult cuDeviceGetName(char* name, int size, CUdevice device) { (void)device; snprintf(name, size, "Fake GPU"); return 0; }
CUresult cuDeviceTotalMem_v2(size_t* bytes, CUdevice device) { (void)device; *bytes = (size_t)8 << 30; return 0; }
CUresult cuDeviceGetAttribute(int* value, int attribute, CUdevice device) {
    (void)device;
    *value = attribute == 75 ? 7 : attribute == 76 ? 5 : attribute == 16 ? 4 : attribute == 97 ? 99 << 10 : 0;
    return 0;
}
CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) { TOLD; (void)device; *context = (void*)1; return 0; }
CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) { (void)device; return 0; }
CUresult cuCtxSetCurrent(CUcontext context) { return context ? 0 : 201; }
CUresult cuMemAlloc_v2(CUdeviceptr* at, size_t size) { TOLD; *at = (CUdeviceptr)aligned_alloc(256, (size + 511) / 256 * 256); return 0; }
CUresult cuMemFree_v2(CUdeviceptr at) { free((void*)at); return 0; }
CUresult cuMemAllocHost_v2(void** at, size_t size) { *at = calloc(size, 1); return 0; }
CUresult cuMemFreeHost(void* at) { free(at); return 0; }
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, size_t size, CUstream s) { (void)s; memcpy((void*)to, from, size); return 0; }
CUresult cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t size, CUstream s) { (void)s; memcpy(to, (void*)from, size); return 0; }
CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream s) { (void)s; memcpy((void*)to, (void*)from, size); return 0; }
CUresult cuMemsetD8Async(CUdeviceptr at, unsigned char value, size_t size, CUstream s) { (void)s; memset((void*)at, value, size); return 0; }
CUresult cuStreamCreate(CUstream* stream, unsigned flags) { (void)flags; *stream = (void*)2; return 0; }
CUresult cuStreamSynchronize(CUstream stream) { TOLD; (void)stream; return 0; }
CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned flags) { (void)stream; (void)event; return flags; }
CUresult cuEventCreate(CUevent* event, unsigned flags) { *event = (void*)3; return flags; }
CUresult cuEventRecord(CUevent event, CUstream stream) { (void)event; (void)stream; return 0; }
CUresult cuEventSynchronize(CUevent event) { (void)event; return 0; }
CUresult cuEventElapsedTime(float* ms, CUevent first, CUevent last) { (void)first; (void)last; *ms = 1.5f; return 0; }
CUresult cuModuleLoadData(CUmodule* module, const void* image) {
    TOLD;
    *module = dlopen((const char*)image, RTLD_NOW);
    return *module ? 0 : 200;
}
CUresult cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
    *function = dlsym(module, name);
    return *function ? 0 : 500;
}
CUresult cuFuncSetAttribute(CUfunction function, int attribute, int value) { (void)function; return attribute == 8 && value >= 0 ? 0 : 1; }
CUresult cuLaunchKernel(CUfunction function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                        unsigned shared, CUstream stream, void** params, void** extra) {
    TOLD;
    const int grid[3] = {(int)gx, (int)gy, (int)gz};
    void* room = aligned_alloc(128, (shared + 255) / 128 * 128);
    if (by != 1 || bz != 1 || extra || !stream) return 1;
    ((void (*)(const int*, int, void*, void*))function)(grid, (int)bx, room, params[0]);
    free(room);
    return 0;
}
