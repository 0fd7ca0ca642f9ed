// Local top-k attention of a frame over its context (appendix F of the paper), in two kernels.
//
// topk_attention  A block takes one tile of query cells and one split of their keys: the cells of the window in every frame
//                 of the context, all cells in a frame that is searched everywhere. Keys pass through shared memory KEYS at
//                 a time; what is as good as the k-th best so far becomes a candidate, and candidates are sorted in when
//                 their buffer fills.
// merge_topk      Merges the lists of the splits, takes the softmax, and sums the labels of the kept.
//
// Every frame, the query included, covers its own rectangle of the whole scaled frame. Windows are compared in cells of the
// whole frame, and clipped to what each context frame covers.
//
// A kept entry is one number: the similarity above, the complement of its place in the context below, so that the larger is
// the better and equal similarities go to the frame named first, then to the lower cell, whatever the order of arrival.
// At most cells x key splits x k entries are stored. With -DCRWEDGE_TENSOR=1 the similarities come from tensor cores
// (mma.sync, compute capability 8.0 and later, CHANNELS fixed); without, from plain loops, which g++ compiles too.
#include "portable.cuh"

#ifndef CRWEDGE_TENSOR
#define CRWEDGE_TENSOR 0
#endif
#ifndef ROW_WARPS
#define ROW_WARPS 2  // a tile is 4 * ROW_WARPS cells high: a warp of the tensor variant owns 4 rows of 8
#endif
#if CRWEDGE_TENSOR && defined(CRWEDGE_WARPS)
#include CRWEDGE_WARPS
#elif CRWEDGE_TENSOR
#include "tensor.cuh"
#endif
#ifndef CHANNELS
#define CHANNELS 256  // of the tensor variant; the plain one takes any number at run time
#endif

enum {
    TILE_X = 8,
    TILE_Y = 4 * ROW_WARPS,
    QUERIES = TILE_X * TILE_Y,
    KEYS = 32,
    ROOM = KEYS + 16,  // candidates a query can hold; sorted in when another KEYS might not fit
    THREADS = 64 * ROW_WARPS,
    CHUNK = 32,  // channels the plain variant stages at a time
    MAX_K = 32
};

struct TopkAttention {
    const half_bits* query;  // (h * w, channels), unit length
    const ContextFrame* frames;
    const int* half;    // half[|dy|] is the largest |dx| inside the neighbourhood
    uint64* partial;    // (h * w, key_splits, k) falling
    uint64* kth_bound;  // (h * w) the best k-th entry that any split has found; zero before
    int h, w, y, x;     // the query's grid, and its first cell among those of the whole frame
    int top, bottom, left, right;  // the smallest box around all frames' grids, in cells of the query's grid
    int frame_count, frame_cells;  // cells of the largest frame
    int channels, reach, k, key_splits, joint, window_rows;
};

// Where things lie in shared memory. `uint64` arrays come first; every part is a multiple of 16 bytes.
struct Layout {
    int list, candidates, limits, stages, similarity, coords, counts, flags, row_start, row_x, bytes;
};

DEVICE int padded(int bytes) { return (bytes + 15) & ~15; }

DEVICE Layout layout_of(int k, int window_rows, int channels, int tensor) {
    Layout at;
    at.stages = 0;  // first, for its alignment
    at.similarity = at.stages + (tensor ? 2 * KEYS * channels * 2 : (QUERIES + KEYS) * (CHUNK + 1) * 4);
    at.list = padded(at.similarity + (tensor ? 0 : QUERIES * KEYS * 4));
    at.candidates = at.list + QUERIES * k * 8;
    at.limits = at.candidates + QUERIES * ROOM * 8;
    at.coords = at.limits + QUERIES * 8;
    at.counts = at.coords + padded(3 * KEYS * 4);
    at.flags = at.counts + QUERIES * 4;
    at.row_start = at.flags + 16;
    at.row_x = at.row_start + padded((window_rows + 1) * 4);
    at.bytes = at.row_x + padded(window_rows * 4);
    return at;
}

struct Tile {
    int x0, y0, x1, y1;  // cells of the query's grid, the end not included
    int ky0, rows;       // rows of the window, in cells of the query's grid: they may lie outside of it
    int window_keys;
};

// The key's place among those of a frame -> y << 16 | x in the frame's own grid, or -1 where it has none.
DEVICE int key_cell(int place, const ContextFrame& frame, const TopkAttention& p, const Tile& tile, const int* row_start,
                    const int* row_x) {
    if (frame.global) return place < frame.h * frame.w ? (place / frame.w) << 16 | place % frame.w : -1;
    if (place >= tile.window_keys) return -1;
    int low = 0, high = tile.rows;
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (row_start[middle] <= place) low = middle;
        else high = middle;
    }
    const int y = tile.ky0 + low + p.y - frame.y, x = row_x[low] + place - row_start[low] + p.x - frame.x;
    return y >= 0 && y < frame.h && x >= 0 && x < frame.w ? y << 16 | x : -1;
}

// Which frame a block is in and which KEYS of it. Advancing past the last frame is harmless.
struct Cursor {
    int frame, part;
};

DEVICE int parts_of(const TopkAttention& p, const Tile& tile, int frame) {
    const ContextFrame& at = p.frames[frame];
    return ((at.global ? at.h * at.w : tile.window_keys) + KEYS - 1) / KEYS;
}

DEVICE void advance(Cursor& at, const TopkAttention& p, const Tile& tile) {
    if (at.frame < p.frame_count && ++at.part >= parts_of(p, tile, at.frame)) {
        at.part = 0;
        ++at.frame;
    }
}

// The lowest similarity that can still matter to a query. NaN, which nothing exceeds, for a cell past the edge.
DEVICE float threshold(uint64 limit) { return limit ? unordered((uint32)(limit >> 32)) : -3.4e38f; }

// Makes a candidate of query q and a key, if it is inside and better than what is known to be good enough. Tells whether the
// query's buffer might not hold another KEYS.
DEVICE int add_candidate(float value, int q, int coord, int number, const TopkAttention& p, const Tile& tile,
                         const uint64* limits, uint64* candidates, int* counts) {
    if (coord < 0) return 0;
    const ContextFrame& frame = p.frames[number];
    const int y = coord >> 16, x = coord & 0xFFFF;
    if (!frame.global) {
        // Both in cells of the whole frame.
        const int dy = y + frame.y - (tile.y0 + q / TILE_X + p.y), dx = x + frame.x - (tile.x0 + q % TILE_X + p.x);
        const int rows = dy < 0 ? -dy : dy;
        if (rows > p.reach || (dx < 0 ? -dx : dx) > p.half[rows]) return 0;
    }
    const uint32 order = (uint32)number * (uint32)p.frame_cells + (uint32)(y * frame.w + x);
    const uint64 entry = (uint64)ordered(value) << 32 | (uint64)(~order);
    if (entry <= limits[q]) return 0;
    const int at = shared_add(&counts[q], 1);
    candidates[at * QUERIES + q] = entry;
    return at >= ROOM - KEYS;
}

// Sorts the candidates of query q into its list. List and candidates lie with the queries side by side: no bank conflicts.
DEVICE void insert_candidates(int q, const TopkAttention& p, const Tile& tile, uint64* list, const uint64* candidates,
                              uint64* limits, int* counts) {
    const int count = counts[q];
    if (count == 0) return;
    for (int i = 0; i < count; ++i) {
        const uint64 entry = candidates[i * QUERIES + q];
        if (entry <= list[(p.k - 1) * QUERIES + q]) continue;
        int copies = 1;
        if (p.joint) copies = p.frames[~(uint32)entry / (uint32)p.frame_cells].copies;
        for (; copies > 0 && entry > list[(p.k - 1) * QUERIES + q]; --copies) {
            int at = p.k - 1;
            for (; at > 0 && list[(at - 1) * QUERIES + q] < entry; --at) list[at * QUERIES + q] = list[(at - 1) * QUERIES + q];
            list[at * QUERIES + q] = entry;
        }
    }
    counts[q] = 0;
    uint64 limit = list[(p.k - 1) * QUERIES + q];
    if (p.joint) {
        // Splits of the same cell tell each other how good the k-th best must be at least.
        uint64* bound = &p.kth_bound[(tile.y0 + q / TILE_X) * p.w + tile.x0 + q % TILE_X];
        if (limit > 0) global_max(bound, limit);
        const uint64 known = *(volatile uint64*)bound;
        if (known > limit) limit = known;
    }
    if (limit > limits[q]) limits[q] = limit;
}

#if CRWEDGE_TENSOR

// A key's channels in 16-byte pieces, exchanged so that eight keys' pieces of the same number fall into different banks.
DEVICE int piece_at(int key, int piece) {
    const int exchanged = CHANNELS >= 64 ? 7 : CHANNELS / 8 - 1;
    return key * (CHANNELS * 2) + ((piece ^ (key & exchanged)) * 16);
}

DEVICE void fetch(byte* stage, const int* coords, const ContextFrame& frame) {
    const int pieces = CHANNELS / 8;
    for (int i = THREAD; i < KEYS * pieces; i += THREADS) {
        const int key = i / pieces, piece = i % pieces, coord = coords[key];
        const int cell = coord < 0 ? 0 : (coord >> 16) * frame.w + (coord & 0xFFFF);
        copy_16_async(stage + piece_at(key, piece), (const byte*)(frame.features + (long long)cell * CHANNELS + piece * 8));
    }
}

#endif

KERNEL(topk_attention, TopkAttention, THREADS) {
    const Layout at = layout_of(p.k, p.window_rows, p.channels, CRWEDGE_TENSOR);
    byte* memory = block.shared;
    uint64 *list = (uint64*)(memory + at.list), *candidates = (uint64*)(memory + at.candidates), *limits = (uint64*)(memory + at.limits);
    int *coords = (int*)(memory + at.coords), *counts = (int*)(memory + at.counts);
    int *row_start = (int*)(memory + at.row_start), *row_x = (int*)(memory + at.row_x);

    const int tiles_x = (p.w + TILE_X - 1) / TILE_X;
    Tile tile;
    tile.x0 = block.x % tiles_x * TILE_X, tile.y0 = block.x / tiles_x * TILE_Y;
    tile.x1 = min(tile.x0 + TILE_X, p.w), tile.y1 = min(tile.y0 + TILE_Y, p.h);
    tile.ky0 = max(p.top, tile.y0 - p.reach);
    tile.rows = p.reach < 0 ? 0 : max(0, min(p.bottom, tile.y1 + p.reach) - tile.ky0);

    PHASE {
        // The window of a tile is that of its nearest cells in every row, so the corners of a disc are left out.
        for (int row = tid; row < tile.rows; row += block.threads) {
            const int y = tile.ky0 + row, away = y < tile.y0 ? tile.y0 - y : y >= tile.y1 ? y - tile.y1 + 1 : 0;
            row_x[row] = max(p.left, tile.x0 - p.half[away]);
            row_start[row] = max(0, min(p.right, tile.x1 + p.half[away]) - row_x[row]);
        }
        for (int q = tid; q < QUERIES; q += block.threads) {
            const int y = tile.y0 + q / TILE_X, x = tile.x0 + q % TILE_X, real = y < p.h && x < p.w;
            for (int i = 0; i < p.k; ++i) list[i * QUERIES + q] = 0;
            counts[q] = 0;
            // Nothing is better than the largest number: cells past the edge never take a candidate.
            limits[q] = !real ? ~(uint64)0 : p.joint ? p.kth_bound[y * p.w + x] : 0;
        }
    }
    SYNC();
    PHASE {
        if (tid == 0) {
            int start = 0;
            for (int row = 0; row < tile.rows; ++row) {
                const int width = row_start[row];
                row_start[row] = start;
                start += width;
            }
            row_start[tile.rows] = start;
        }
    }
    SYNC();
    tile.window_keys = row_start[tile.rows];

    // This block's split of the keys, in parts of KEYS.
    Cursor cursor = {0, 0};
    int remaining = 0;
    if (p.joint) {
        long long total = 0;
        for (int frame = 0; frame < p.frame_count; ++frame) total += parts_of(p, tile, frame);
        const int begin = (int)(total * block.y / p.key_splits);
        remaining = (int)(total * (block.y + 1) / p.key_splits) - begin;
        cursor.part = begin;
        while (cursor.frame < p.frame_count && cursor.part >= parts_of(p, tile, cursor.frame)) {
            cursor.part -= parts_of(p, tile, cursor.frame);
            ++cursor.frame;
        }
    } else {
        cursor.frame = block.y;
        remaining = parts_of(p, tile, block.y);
    }

#if CRWEDGE_TENSOR
    const int lane = THREAD % 32, warp = THREAD / 32, row_warp = warp % ROW_WARPS, key_warp = warp / ROW_WARPS;

    // A warp keeps its 32 queries in registers for the whole block: two fragments of 16 x 16 for each 16 channels.
    uint32 query[2][CHANNELS / 16][4];
#pragma unroll
    for (int m = 0; m < 2; ++m) {
#pragma unroll
        for (int part = 0; part < 2; ++part) {
            const int q = row_warp * 32 + m * 16 + part * 8 + lane / 4;
            const int y = min(tile.y0 + q / TILE_X, p.h - 1), x = min(tile.x0 + q % TILE_X, p.w - 1);
            const uint32* from = (const uint32*)(p.query + ((long long)y * p.w + x) * CHANNELS) + lane % 4;
#pragma unroll
            for (int step = 0; step < CHANNELS / 16; ++step) {
                query[m][step][part] = from[step * 8];
                query[m][step][part + 2] = from[step * 8 + 4];
            }
        }
    }

    // Two stages of keys, three of places: while part n is multiplied, n + 1 is on its way and n + 2 is being looked up.
    Cursor next = cursor;
    if (THREAD < KEYS && remaining > 0)
        coords[THREAD] = key_cell(next.part * KEYS + THREAD, p.frames[next.frame], p, tile, row_start, row_x);
    barrier();
    if (remaining > 0)
        fetch(memory + at.stages, coords, p.frames[next.frame]);
    commit_copies();
    advance(next, p, tile);
    if (THREAD < KEYS && remaining > 1)
        coords[KEYS + THREAD] = key_cell(next.part * KEYS + THREAD, p.frames[next.frame], p, tile, row_start, row_x);
    barrier();
    for (int n = 0; n < remaining; ++n) {
        if (n + 1 < remaining)
            fetch(memory + at.stages + (n + 1) % 2 * (KEYS * CHANNELS * 2), coords + (n + 1) % 3 * KEYS, p.frames[next.frame]);
        commit_copies();
        advance(next, p, tile);
        if (n + 2 < remaining && THREAD < KEYS)
            coords[(n + 2) % 3 * KEYS + THREAD] =
                key_cell(next.part * KEYS + THREAD, p.frames[next.frame], p, tile, row_start, row_x);
        wait_for_copies_but_last();
        barrier();

        int full = 0;
        const byte* stage = memory + at.stages + n % 2 * (KEYS * CHANNELS * 2);
        const int* here = coords + n % 3 * KEYS + key_warp * 16;
        const ContextFrame& frame = p.frames[cursor.frame];
        // Keys come row by row: a warp whose four rows of queries are out of reach of all its keys leaves them out.
        int first = 1 << 16, last = -1;
        for (int i = 0; i < 16; ++i) {
            if (here[i] < 0) continue;
            first = min(first, here[i] >> 16), last = max(last, here[i] >> 16);
        }
        const int top = tile.y0 + row_warp * 4 + p.y - frame.y;
        if (last >= 0 && (frame.global || (first <= top + 3 + p.reach && last >= top - p.reach))) {
            float sums[2][2][4] = {};
#pragma unroll
            for (int pair = 0; pair < CHANNELS / 32; ++pair) {
#pragma unroll
                for (int eight = 0; eight < 2; ++eight) {
                    uint32 key[4];
                    load_matrices(key, stage + piece_at(key_warp * 16 + eight * 8 + lane % 8, pair * 4 + lane / 8));
#pragma unroll
                    for (int m = 0; m < 2; ++m) {
                        multiply_accumulate(sums[m][eight], query[m][pair * 2], key[0], key[1]);
                        multiply_accumulate(sums[m][eight], query[m][pair * 2 + 1], key[2], key[3]);
                    }
                }
            }
#pragma unroll
            for (int m = 0; m < 2; ++m) {
#pragma unroll
                for (int part = 0; part < 2; ++part) {
                    const int q = row_warp * 32 + m * 16 + part * 8 + lane / 4;
                    const float needed = threshold(limits[q]);
#pragma unroll
                    for (int eight = 0; eight < 2; ++eight) {
#pragma unroll
                        for (int i = 0; i < 2; ++i) {
                            const float value = sums[m][eight][part * 2 + i];
                            if (value >= needed)
                                full |= add_candidate(value, q, here[eight * 8 + lane % 4 * 2 + i], cursor.frame, p, tile,
                                              limits, candidates, counts);
                        }
                    }
                }
            }
        }
        // The barrier also tells that every warp is done with this stage.
        if (barrier_or(full)) {
            for (int q = THREAD; q < QUERIES; q += THREADS) insert_candidates(q, p, tile, list, candidates, limits, counts);
            barrier();
        }
        advance(cursor, p, tile);
    }
#else
    float *stage_q = (float*)(memory + at.stages), *stage_k = stage_q + QUERIES * (CHUNK + 1);
    float* similarity = (float*)(memory + at.similarity);
    int* flags = (int*)(memory + at.flags);
    for (int n = 0; n < remaining; ++n) {
        const ContextFrame& frame = p.frames[cursor.frame];
        PHASE {
            if (tid == 0) flags[0] = 0;
            for (int key = tid; key < KEYS; key += block.threads)
                coords[key] = key_cell(cursor.part * KEYS + key, frame, p, tile, row_start, row_x);
            for (int i = tid; i < QUERIES * KEYS; i += block.threads) similarity[i] = 0;
        }
        SYNC();
        for (int from = 0; from < p.channels; from += CHUNK) {
            const int chunk = min(CHUNK, p.channels - from);
            PHASE {
                for (int i = tid; i < (QUERIES + KEYS) * CHUNK; i += block.threads) {
                    const int row = i / CHUNK, c = i % CHUNK;
                    float value = 0;
                    if (c < chunk && row < QUERIES) {
                        const int y = min(tile.y0 + row / TILE_X, p.h - 1), x = min(tile.x0 + row % TILE_X, p.w - 1);
                        value = half_to_float(p.query[((long long)y * p.w + x) * p.channels + from + c]);
                    } else if (c < chunk && coords[row - QUERIES] >= 0) {
                        const int coord = coords[row - QUERIES];
                        const long long cell = (coord >> 16) * frame.w + (coord & 0xFFFF);
                        value = half_to_float(frame.features[cell * p.channels + from + c]);
                    }
                    stage_q[row * (CHUNK + 1) + c] = value;  // the keys' rows follow the queries'
                }
            }
            SYNC();
            PHASE {
                for (int i = tid; i < QUERIES * KEYS; i += block.threads) {
                    const float *a = stage_q + i / KEYS * (CHUNK + 1), *b = stage_k + i % KEYS * (CHUNK + 1);
                    float sum = similarity[i];
                    for (int c = 0; c < CHUNK; ++c) sum += a[c] * b[c];
                    similarity[i] = sum;
                }
            }
            SYNC();
        }
        PHASE {
            for (int i = tid; i < QUERIES * KEYS; i += block.threads) {
                const int q = i / KEYS;
                if (similarity[i] >= threshold(limits[q]) &&
                    add_candidate(similarity[i], q, coords[i % KEYS], cursor.frame, p, tile, limits, candidates, counts))
                    flags[0] = 1;
            }
        }
        SYNC();
        if (flags[0]) {
            PHASE {
                for (int q = tid; q < QUERIES; q += block.threads) insert_candidates(q, p, tile, list, candidates, limits, counts);
            }
        }
        SYNC();
        advance(cursor, p, tile);
    }
#endif

    SYNC();
    PHASE {
        for (int q = tid; q < QUERIES; q += block.threads) {
            const int y = tile.y0 + q / TILE_X, x = tile.x0 + q % TILE_X;
            if (y >= p.h || x >= p.w) continue;
            insert_candidates(q, p, tile, list, candidates, limits, counts);
            uint64* out = p.partial + ((long long)(y * p.w + x) * p.key_splits + block.y) * p.k;
            for (int i = 0; i < p.k; ++i) out[i] = list[i * QUERIES + q];
        }
    }
}

struct MergeTopk {
    const uint64* partial;  // (cells, key_splits, k)
    const ContextFrame* frames;
    float* labels;          // (cells, count) the result
    uint32* label_bitmask;  // (cells, bitmask_words) which labels are above zero in the result
    float* entropy;         // (cells) of the weights over its greatest possible value, or null
    float* support;         // (cells) temperature x log of the sum of exp(similarity / temperature), or null
    int cells, count, bitmask_words, key_splits, k, joint, frame_cells;
    float inverse_temperature;
};

enum { GROUP = 32, GROUPS = 4 };

// How an entry's similarity stands to the best one, as the exponent of its weight.
DEVICE float exponent_of(const MergeTopk& p, uint64 entry, uint32 best) {
    return (unordered((uint32)(entry >> 32)) - unordered(best)) * p.inverse_temperature;
}

// In a joint list a frame's copies have an entry each.
DEVICE float copies_of(const MergeTopk& p, uint32 frame) { return p.joint ? 1.0f : (float)p.frames[frame].copies; }

DEVICE uint32 largest(const uint32* values) {
    uint32 found = 0;
    for (int i = 0; i < GROUP; ++i)
        if (values[i] > found) found = values[i];
    return found;
}

// A group of 32 threads merges a cell. Shared memory of a group: k kept entries, the lists of the splits, one best similarity
// and two sums of each thread, the bitmask.
KERNEL(merge_topk, MergeTopk, GROUP * GROUPS) {
    const int listed = p.key_splits * p.k, staged = p.joint ? listed : 0, count = p.joint ? p.k : listed;
    const int lists_at = p.k * 8, best_at = lists_at + staged * 8, sums_at = best_at + GROUP * 4, bits_at = sums_at + GROUP * 8;
    const int group_bytes = padded(bits_at + p.bitmask_words * 4);

    PHASE {
        const int lane = tid % GROUP, cell = block.x * GROUPS + tid / GROUP;
        byte* memory = block.shared + tid / GROUP * group_bytes;
        uint64 *kept = (uint64*)memory, *lists = (uint64*)(memory + lists_at);
        uint32* bits = (uint32*)(memory + bits_at);
        for (int i = lane; i < p.k; i += GROUP) kept[i] = 0;
        for (int i = lane; i < p.bitmask_words; i += GROUP) bits[i] = 0;
        for (int i = lane; i < staged; i += GROUP) lists[i] = cell < p.cells ? p.partial[(long long)cell * listed + i] : 0;
    }
    SYNC();
    PHASE {
        // A candidate's place is the number of better ones; the copies of an entry take places one after the other.
        const int lane = tid % GROUP;
        byte* memory = block.shared + tid / GROUP * group_bytes;
        uint64 *kept = (uint64*)memory, *lists = (uint64*)(memory + lists_at);
        for (int i = lane; i < staged; i += GROUP) {
            const uint64 entry = lists[i];
            int rank = 0;
            for (int j = 0; entry && j < staged && rank < p.k; ++j) rank += lists[j] > entry || (lists[j] == entry && j < i);
            if (entry && rank < p.k) kept[rank] = entry;
        }
    }
    SYNC();
    PHASE {
        const int lane = tid % GROUP, cell = block.x * GROUPS + tid / GROUP;
        byte* memory = block.shared + tid / GROUP * group_bytes;
        const uint64* entries = p.joint ? (const uint64*)memory : p.partial + (long long)cell * listed;
        uint64 best = 0;
        for (int i = lane; cell < p.cells && i < count; i += GROUP)
            if (entries[i] > best) best = entries[i];
        ((uint32*)(memory + best_at))[lane] = (uint32)(best >> 32);
    }
    SYNC();
    PHASE {
        const int lane = tid % GROUP, cell = block.x * GROUPS + tid / GROUP;
        byte* memory = block.shared + tid / GROUP * group_bytes;
        const uint64* entries = p.joint ? (const uint64*)memory : p.partial + (long long)cell * listed;
        const uint32 best = largest((const uint32*)(memory + best_at));
        float *sums = (float*)(memory + sums_at), sum = 0, moment = 0;
        for (int i = lane; cell < p.cells && i < count; i += GROUP) {
            if (!entries[i]) continue;
            const float exponent = exponent_of(p, entries[i], best);
            const float weight = copies_of(p, ~(uint32)entries[i] / (uint32)p.frame_cells) * expf(exponent);
            sum += weight;
            moment += weight * exponent;
        }
        sums[lane] = sum, sums[GROUP + lane] = moment;
    }
    SYNC();
    PHASE {
        const int lane = tid % GROUP, cell = block.x * GROUPS + tid / GROUP;
        byte* memory = block.shared + tid / GROUP * group_bytes;
        const uint64* entries = p.joint ? (const uint64*)memory : p.partial + (long long)cell * listed;
        const uint32 best = largest((const uint32*)(memory + best_at));
        const float* sums = (const float*)(memory + sums_at);
        uint32* bits = (uint32*)(memory + bits_at);
        float total = 0, moment = 0;
        for (int i = 0; i < GROUP; ++i) total += sums[i], moment += sums[GROUP + i];
        if (p.entropy && lane == 0 && cell < p.cells)
            p.entropy[cell] = total > 0 ? (logf(total) - moment / total) / logf((float)max(count, 2)) : 1.0f;
        if (p.support && lane == 0 && cell < p.cells)
            p.support[cell] = total > 0 ? unordered(best) + logf(total) / p.inverse_temperature : -INFINITY;
        for (int label = lane; cell < p.cells && label < p.count; label += GROUP) {
            // A cell without any key in reach is background.
            float value = total > 0 || label > 0 ? 0.0f : 1.0f;
            for (int i = 0; i < count; ++i) {
                const uint64 entry = entries[i];
                if (!entry) continue;
                const uint32 order = ~(uint32)entry, frame = order / (uint32)p.frame_cells;
                const long long at = (long long)(order - frame * (uint32)p.frame_cells) * p.count + label;
                value += copies_of(p, frame) * expf(exponent_of(p, entry, best)) * p.frames[frame].labels[at];
            }
            if (total > 0) value /= total;
            p.labels[(long long)cell * p.count + label] = value;
            if (value > 0) shared_or(&bits[label / 32], 1u << label % 32);
        }
    }
    SYNC();
    PHASE {
        const int lane = tid % GROUP, cell = block.x * GROUPS + tid / GROUP;
        const uint32* bits = (const uint32*)(block.shared + tid / GROUP * group_bytes + bits_at);
        for (int i = lane; cell < p.cells && i < p.bitmask_words; i += GROUP)
            p.label_bitmask[(long long)cell * p.bitmask_words + i] = bits[i];
    }
}

#ifdef CRWEDGE_HOST
extern "C" int attention_shared_bytes(int k, int window_rows, int channels, int tensor) {
    return layout_of(k, window_rows, channels, tensor).bytes;
}
#endif
