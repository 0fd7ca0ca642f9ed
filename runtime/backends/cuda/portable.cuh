// What lets one source be a CUDA kernel and a plain loop: nvcc and NVRTC compile it for a GPU, g++ with -DCRWEDGE_HOST for the CPU.
//
// A kernel is a list of phases. On a GPU a phase is what each thread of a block does between two barriers; on the CPU it is a
// loop over the threads. So nothing that a thread computes may outlive its phase but in shared or global memory; what is
// written outside of the phases is the same for all threads of a block. No header of CUDA is included: NVRTC has none.
#pragma once

typedef unsigned char byte;
typedef unsigned short half_bits;  // IEEE float16, as bits
typedef unsigned int uint32;
typedef unsigned long long uint64;

struct Block {
    int x, y, z;
    int threads;
    byte* shared;
};

#ifdef CRWEDGE_HOST

#include <math.h>
#include <string.h>

#define DEVICE static inline
#ifndef CRWEDGE_WARPS  // a test's stand-in for warps brings its own
#define PHASE for (int tid = 0; tid < block.threads; ++tid)
#define SYNC()
#define KERNEL(NAME, PARAMS, MAX_THREADS)                                                                    \
    static void NAME##_block(const Block& block, const PARAMS& p);                                            \
    extern "C" void NAME(const int* grid, int threads, byte* shared, const PARAMS* p) {                       \
        for (int z = 0; z < grid[2]; ++z)                                                                     \
            for (int y = 0; y < grid[1]; ++y)                                                                 \
                for (int x = 0; x < grid[0]; ++x) NAME##_block(Block{x, y, z, threads, shared}, *p);          \
    }                                                                                                         \
    static void NAME##_block(const Block& block, const PARAMS& p)
#endif

DEVICE float bits_to_float(uint32 bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}
DEVICE uint32 float_to_bits(float value) {
    uint32 bits;
    memcpy(&bits, &value, 4);
    return bits;
}
DEVICE float half_to_float(half_bits half) {
    // Moving the exponent by a product with 2^112 makes subnormal numbers right too; infinity and NaN are put back by hand.
    const uint32 magnitude = (uint32)(half & 0x7FFF) << 13, sign = (uint32)(half & 0x8000) << 16;
    if (magnitude >= 0x0F800000u) return bits_to_float(sign | 0x70000000u | magnitude);
    return bits_to_float(sign | float_to_bits(bits_to_float(magnitude) * 5192296858534827628530496329220096.0f));
}
DEVICE half_bits float_to_half(float value) {
    const uint32 bits = float_to_bits(value), sign = (bits >> 16) & 0x8000u;
    const uint32 magnitude = bits & 0x7FFFFFFFu;
    if (magnitude > 0x7F800000u) return (half_bits)(sign | 0x7E00u);
    if (magnitude >= 0x477FF000u) return (half_bits)(sign | 0x7C00u);
    if (magnitude < 0x38800000u) {
        // Below the smallest normal number: one unit is 2^-24, and the sum with 0.5 rounds to even by itself.
        return (half_bits)(sign | (float_to_bits(bits_to_float(magnitude) + 0.5f) - 0x3F000000u));
    }
    const uint32 rounded = magnitude + 0xFFFu + ((magnitude >> 13) & 1u);
    return (half_bits)(sign | ((rounded - 0x38000000u) >> 13));
}
DEVICE int shared_add(int* at, int value) { int old = *at; *at += value; return old; }
DEVICE void shared_or(uint32* at, uint32 value) { *at |= value; }
DEVICE void global_max(uint64* at, uint64 value) { if (value > *at) *at = value; }
DEVICE void global_max(uint32* at, uint32 value) { if (value > *at) *at = value; }
DEVICE void global_min(uint32* at, uint32 value) { if (value < *at) *at = value; }
DEVICE int lowest_bit(uint32 bits) { return __builtin_ctz(bits); }
DEVICE int min(int a, int b) { return a < b ? a : b; }
DEVICE int max(int a, int b) { return a > b ? a : b; }

#else

#define DEVICE static __device__ __forceinline__
#define PHASE for (int tid = threadIdx.x, once = 1; once; once = 0)
#define SYNC() __syncthreads()
#define KERNEL(NAME, PARAMS, MAX_THREADS)                                                                    \
    DEVICE void NAME##_block(const Block& block, const PARAMS& p);                                            \
    extern "C" __global__ void __launch_bounds__(MAX_THREADS) NAME(const PARAMS p) {                         \
        extern __shared__ __align__(128) byte dynamic_shared[];                                               \
        const Block block = {(int)blockIdx.x, (int)blockIdx.y, (int)blockIdx.z, (int)blockDim.x, dynamic_shared}; \
        NAME##_block(block, p);                                                                               \
    }                                                                                                         \
    DEVICE void NAME##_block(const Block& block, const PARAMS& p)

DEVICE float bits_to_float(uint32 bits) { return __uint_as_float(bits); }
DEVICE uint32 float_to_bits(float value) { return __float_as_uint(value); }
DEVICE float half_to_float(half_bits half) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(half));
    return value;
}
DEVICE half_bits float_to_half(float value) {
    half_bits half;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(value));
    return half;
}
DEVICE int shared_add(int* at, int value) { return atomicAdd(at, value); }
DEVICE void shared_or(uint32* at, uint32 value) { atomicOr(at, value); }
DEVICE void global_max(uint64* at, uint64 value) { atomicMax(at, value); }
DEVICE void global_max(uint32* at, uint32 value) { atomicMax(at, value); }
DEVICE void global_min(uint32* at, uint32 value) { atomicMin(at, value); }
DEVICE int lowest_bit(uint32 bits) { return __ffs((int)bits) - 1; }

#endif

// Floats as words that compare like them; 0 is below every number, so it stands for "nothing".
DEVICE uint32 ordered(float value) {
    const uint32 bits = float_to_bits(value);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
DEVICE float unordered(uint32 bits) { return bits_to_float(bits & 0x80000000u ? bits & 0x7FFFFFFFu : ~bits); }

// One frame of the context: where it lies in device memory, and which cells of the whole scaled frame it covers.
struct ContextFrame {
    const half_bits* features;  // (h * w, channels), unit length
    const float* labels;        // (h * w, count)
    int h, w, y, x;             // its grid, and its first cell among those of the whole frame
    int copies;                 // how many places of the context it fills
    int global;                 // searched everywhere rather than in the neighbourhood
};
