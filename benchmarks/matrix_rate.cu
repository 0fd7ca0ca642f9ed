// How fast this device multiplies float16 matrices with float32 sums when nothing else stands in the way: mma.sync on
// registers alone. benchmarks/gpu.py divides the operations of a step by this rate to get the floor of its time.
struct Rate {
    float* out;
    int rounds;
};

extern "C" __global__ void __launch_bounds__(256) matrix_rate(const Rate p) {
    unsigned a[4] = {threadIdx.x, 1, 2, 3}, b[2] = {threadIdx.x, 5};
    float sums[8][4] = {};
    for (int round = 0; round < p.rounds; ++round) {
#pragma unroll
        for (int i = 0; i < 8; ++i)
            asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                         : "+f"(sums[i][0]), "+f"(sums[i][1]), "+f"(sums[i][2]), "+f"(sums[i][3])
                         : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    }
    float total = 0;
    for (int i = 0; i < 8; ++i) total += sums[i][0] + sums[i][1] + sums[i][2] + sums[i][3];
    p.out[blockIdx.x * blockDim.x + threadIdx.x] = total;
}
