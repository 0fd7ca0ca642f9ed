// A stand-in for a GPU's warps, for tests only: every thread of a block is a fibre, a barrier hands over to the next one, and
// the operations of tensor.cuh are done by hand from the layouts that NVIDIA's PTX manual gives for them. Copies arrive
// only when they are waited for, so that a missing wait shows. It proves the indexing of the tensor variant, not its speed.
#pragma once

#include <ucontext.h>

#include <vector>

namespace lanes {

struct Copy {
    byte* to;
    const byte* from;
};
struct Fibre {
    ucontext_t context;
    std::vector<byte> stack;
    bool done = false;
    int turn = 0;
    std::vector<std::vector<Copy>> copies{1};
};
struct Operand {
    uint32 words[6];
    float sum[4];
    const byte* address;
};

static std::vector<Fibre> fibres;
static int current, alive;
static ucontext_t outside;
static std::vector<int> arrived, generation;  // of each warp, and of the block last
static int any_value[2], any_turn;
static std::vector<Operand> operands[2];
static void (*body)(void*);
static void* argument;

static void hand_over() {
    const int from = current;
    do current = (current + 1) % (int)fibres.size();
    while (fibres[current].done);
    if (current != from) swapcontext(&fibres[from].context, &fibres[current].context);
}
static void meet(int group, int size) {
    const int now = generation[group];
    if (++arrived[group] == size) {
        arrived[group] = 0;
        ++generation[group];
    }
    while (generation[group] == now) hand_over();
}
static void meet_block() { meet((int)generation.size() - 1, (int)fibres.size()); }
static void entry() {
    body(argument);
    fibres[current].done = true;
    if (--alive == 0) setcontext(&outside);
    hand_over();
}
static void run(int threads, void (*function)(void*), void* with) {
    fibres.assign(threads, Fibre());
    arrived.assign(threads / 32 + 1, 0);
    generation.assign(threads / 32 + 1, 0);
    operands[0].assign(threads, Operand());
    operands[1].assign(threads, Operand());
    body = function, argument = with, current = 0, alive = threads;
    for (Fibre& fibre : fibres) {
        getcontext(&fibre.context);
        fibre.stack.resize(128 << 10);
        fibre.context.uc_stack.ss_sp = fibre.stack.data();
        fibre.context.uc_stack.ss_size = fibre.stack.size();
        fibre.context.uc_link = nullptr;
        makecontext(&fibre.context, entry, 0);
    }
    swapcontext(&outside, &fibres[0].context);
}
// What each lane brings to an operation of its warp; after it, all of the warp's operands can be read until the next but one.
static Operand* exchange(const Operand& mine) {
    const int thread = current, turn = fibres[thread].turn ^= 1;
    operands[turn][thread] = mine;
    meet(thread / 32, 32);
    return &operands[turn][thread / 32 * 32];
}

}  // namespace lanes

#define THREAD (lanes::current)
#define PHASE for (int tid = THREAD, once = 1; once; once = 0)
#define SYNC() lanes::meet_block()
#define KERNEL(NAME, PARAMS, MAX_THREADS)                                                                    \
    static void NAME##_block(const Block& block, const PARAMS& p);                                            \
    struct NAME##_call { Block block; const PARAMS* p; };                                                     \
    static void NAME##_thread(void* call) { NAME##_block(((NAME##_call*)call)->block, *((NAME##_call*)call)->p); } \
    extern "C" void NAME(const int* grid, int threads, byte* shared, const PARAMS* p) {                       \
        for (int y = 0; y < grid[1]; ++y)                                                                     \
            for (int x = 0; x < grid[0]; ++x) {                                                               \
                NAME##_call call = {{x, y, 0, threads, shared}, p};                                           \
                lanes::run(threads, NAME##_thread, &call);                                                    \
            }                                                                                                 \
    }                                                                                                         \
    static void NAME##_block(const Block& block, const PARAMS& p)

static void barrier() { lanes::meet_block(); }
static int barrier_or(int value) {
    const int turn = lanes::any_turn;
    lanes::any_value[turn] |= value;
    lanes::meet_block();
    const int result = lanes::any_value[turn];
    lanes::meet_block();
    lanes::any_value[turn] = 0;
    lanes::meet_block();
    return result;
}
static void copy_16_async(byte* to, const byte* from) { lanes::fibres[THREAD].copies.back().push_back({to, from}); }
static void commit_copies() { lanes::fibres[THREAD].copies.emplace_back(); }
static void wait_for_copies_but_last() {
    auto& groups = lanes::fibres[THREAD].copies;
    // The last entry is the group still open; the one before it is the one that may stay under way.
    while (groups.size() > 2) {
        for (const lanes::Copy& copy : groups.front()) memcpy(copy.to, copy.from, 16);
        groups.erase(groups.begin());
    }
}
static void load_matrices(uint32 (&out)[4], const byte* from) {
    const int lane = THREAD % 32;
    const lanes::Operand* warp = lanes::exchange({{}, {}, from});
    for (int matrix = 0; matrix < 4; ++matrix) memcpy(&out[matrix], warp[matrix * 8 + lane / 4].address + lane % 4 * 4, 4);
}
static void multiply_accumulate(float (&sum)[4], const uint32 (&a)[4], uint32 b0, uint32 b1) {
    const int lane = THREAD % 32;
    const lanes::Operand* warp = lanes::exchange({{a[0], a[1], a[2], a[3], b0, b1}, {}, nullptr});
    for (int i = 0; i < 4; ++i) {
        const int row = lane / 4 + (i >= 2 ? 8 : 0), column = lane % 4 * 2 + i % 2;
        for (int k = 0; k < 16; ++k) {
            // a: lane holds row g = lane / 4 (registers 0, 2) and g + 8 (1, 3), columns 2 t, 2 t + 1 (0, 1) and those + 8 (2, 3).
            const int a_lane = row % 8 * 4 + k % 8 / 2, a_register = (row >= 8 ? 1 : 0) + (k >= 8 ? 2 : 0);
            // b: lane holds column g, rows 2 t, 2 t + 1 (register 0) and those + 8 (register 1).
            const int b_lane = column * 4 + k % 8 / 2, b_register = 4 + (k >= 8 ? 1 : 0);
            const half_bits x = (half_bits)(warp[a_lane].words[a_register] >> (k % 2 * 16));
            const half_bits y = (half_bits)(warp[b_lane].words[b_register] >> (k % 2 * 16));
            sum[i] += half_to_float(x) * half_to_float(y);
        }
    }
}
