// The few operations of a warp and a block that the tensor variant needs beside plain C++: barriers, copies that run while
// others compute, and the matrix product of fragments (compute capability 8.0 and later).
#pragma once

#define THREAD ((int)threadIdx.x)

DEVICE void barrier() { __syncthreads(); }
DEVICE int barrier_or(int value) { return __syncthreads_or(value); }

// 16 bytes from global to shared memory, in the background; `commit_copies` ends a group of them.
DEVICE void copy_16_async(byte* to, const byte* from) {
    const uint32 address = (uint32)__cvta_generic_to_shared(to);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(from) : "memory");
}
DEVICE void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until all groups but the last have arrived; others see them after a barrier.
DEVICE void wait_for_copies_but_last() { asm volatile("cp.async.wait_group 1;" ::: "memory"); }

// Four 8 x 8 matrices of float16: lane l gives the address of row l % 8 of matrix l / 8, and gets of each matrix the two
// elements 2 * (l % 4) and the next of row l / 4.
DEVICE void load_matrices(uint32 (&out)[4], const byte* from) {
    const uint32 address = (uint32)__cvta_generic_to_shared(from);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(address)
                 : "memory");
}

// sum (16 x 8, float32) += a (16 x 16) b (16 x 8), float16. Lane l holds of `sum` the columns 2 * (l % 4) and the next of the
// rows l / 4 and l / 4 + 8.
DEVICE void multiply_accumulate(float (&sum)[4], const uint32 (&a)[4], uint32 b0, uint32 b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
