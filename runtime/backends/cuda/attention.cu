// Local top-k attention of a frame over its context (appendix F of the paper), in two kernels.
//
// attend  A block takes one tile of query cells and one share of their keys: the cells of the window in every frame of the
//         context, all cells in a frame that is searched everywhere. Keys pass through shared memory KEYS at a time; what
//         is as good as the k-th best so far becomes a candidate, and candidates are sorted in when their buffer fills.
// settle  Merges the lists of the shares, takes the softmax, and sums the labels of the kept.
//
// A kept entry is one number: the similarity above, the complement of its place in the context below, so that the larger is
// the better and equal similarities go to the frame named first, then to the lower cell, whatever the order of arrival.
// The most that is stored is cells x shares x k. With -DCRWEDGE_TENSOR=1 the similarities come from tensor cores
// (mma.sync, compute capability 8.0 and later, CHANNELS fixed); without, from plain loops, which g++ compiles too.
#include "portable.cuh"

#ifndef CRWEDGE_TENSOR
#define CRWEDGE_TENSOR 0
#endif
#ifndef ROW_WARPS
#define ROW_WARPS 2  // a tile is 4 * ROW_WARPS cells high: a warp of the tensor variant owns 4 rows of 8
#endif
#if CRWEDGE_TENSOR && defined(CRWEDGE_LANES)
#include CRWEDGE_LANES
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
    MOST_K = 32
};

struct Attend {
    const half_bits* features;  // (slots, h * w, channels), unit length
    const int* table;
    const int* half;  // half[|dy|] is the largest |dx| inside the neighbourhood
    wide* partial;    // (h * w, shares, k) falling
    wide* floor;      // (h * w) the best k-th entry that any share has found; zero before
    int h, w, channels, reach, k, shares, joint, window_rows;
};

// Where things lie in shared memory. `wide` arrays come first; every part is a multiple of 16 bytes.
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
    int x0, y0, x1, y1;  // cells, the end not included
    int ky0, rows;       // rows of the window
    int window_keys;
};

// The key's place in the window or the frame -> y << 16 | x, or -1 past the end.
DEVICE int locate(int place, int everywhere, const Tile& tile, const int* row_start, const int* row_x, int h, int w) {
    if (everywhere) return place < h * w ? (place / w) << 16 | place % w : -1;
    if (place >= tile.window_keys) return -1;
    int low = 0, high = tile.rows;
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (row_start[middle] <= place) low = middle;
        else high = middle;
    }
    return (tile.ky0 + low) << 16 | (row_x[low] + place - row_start[low]);
}

// Which frame a block is in and which KEYS of it. Advancing past the last frame is harmless.
struct Cursor {
    int frame, part;
};

DEVICE int parts_of(const Attend& p, const Tile& tile, int frame) {
    const int keys = frame_fact(p.table, frame, FRAME_GLOBAL) ? p.h * p.w : tile.window_keys;
    return (keys + KEYS - 1) / KEYS;
}

DEVICE void advance(Cursor& at, const Attend& p, const Tile& tile, int frames) {
    if (at.frame < frames && ++at.part >= parts_of(p, tile, at.frame)) {
        at.part = 0;
        ++at.frame;
    }
}

// The least similarity that can still matter to a query. NaN, which nothing exceeds, for a cell past the edge.
DEVICE float enough(wide limit) { return limit ? unordered((word)(limit >> 32)) : -3.4e38f; }

// Makes a candidate of query q and a key, if it is inside and better than what is known to be enough. Tells whether the
// query's buffer might not hold another KEYS.
DEVICE int offer(float value, int q, int coord, int frame, int everywhere, const Attend& p, const Tile& tile,
                  const wide* limits, wide* candidates, int* counts) {
    if (coord < 0) return 0;
    const int y = coord >> 16, x = coord & 0xFFFF;
    if (!everywhere) {
        const int dy = y - (tile.y0 + q / TILE_X), dx = x - (tile.x0 + q % TILE_X);
        const int tall = dy < 0 ? -dy : dy;
        if (tall > p.reach || (dx < 0 ? -dx : dx) > p.half[tall]) return 0;
    }
    const word order = (word)frame * (word)(p.h * p.w) + (word)(y * p.w + x);
    const wide entry = (wide)ordered(value) << 32 | (wide)(~order);
    if (entry <= limits[q]) return 0;
    const int at = shared_add(&counts[q], 1);
    candidates[at * QUERIES + q] = entry;
    return at >= ROOM - KEYS;
}

// Sorts the candidates of query q into its list. List and candidates lie with the queries side by side: no bank conflicts.
DEVICE void sort_in(int q, const Attend& p, const Tile& tile, wide* list, const wide* candidates, wide* limits, int* counts) {
    const int count = counts[q], cells = p.h * p.w;
    if (count == 0) return;
    for (int i = 0; i < count; ++i) {
        const wide entry = candidates[i * QUERIES + q];
        if (entry <= list[(p.k - 1) * QUERIES + q]) continue;
        int copies = 1;
        if (p.joint) copies = frame_fact(p.table, (int)(~(word)entry / (word)cells), FRAME_COPIES);
        for (; copies > 0 && entry > list[(p.k - 1) * QUERIES + q]; --copies) {
            int at = p.k - 1;
            for (; at > 0 && list[(at - 1) * QUERIES + q] < entry; --at) list[at * QUERIES + q] = list[(at - 1) * QUERIES + q];
            list[at * QUERIES + q] = entry;
        }
    }
    counts[q] = 0;
    wide limit = list[(p.k - 1) * QUERIES + q];
    if (p.joint) {
        // Shares of the same cell tell each other how good the k-th best must be at least.
        wide* floor = &p.floor[(tile.y0 + q / TILE_X) * p.w + tile.x0 + q % TILE_X];
        if (limit > 0) global_max(floor, limit);
        const wide known = *(volatile wide*)floor;
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

DEVICE void fetch(byte* stage, const int* coords, const half_bits* frame, int w) {
    const int pieces = CHANNELS / 8;
    for (int i = THREAD; i < KEYS * pieces; i += THREADS) {
        const int key = i / pieces, piece = i % pieces, coord = coords[key];
        const int cell = coord < 0 ? 0 : (coord >> 16) * w + (coord & 0xFFFF);
        copy_16(stage + piece_at(key, piece), (const byte*)(frame + (long long)cell * CHANNELS + piece * 8));
    }
}

#endif

KERNEL(attend, Attend, THREADS) {
    const Layout at = layout_of(p.k, p.window_rows, p.channels, CRWEDGE_TENSOR);
    byte* memory = block.shared;
    wide *list = (wide*)(memory + at.list), *candidates = (wide*)(memory + at.candidates), *limits = (wide*)(memory + at.limits);
    int *coords = (int*)(memory + at.coords), *counts = (int*)(memory + at.counts);
    int *row_start = (int*)(memory + at.row_start), *row_x = (int*)(memory + at.row_x);
    const int cells = p.h * p.w, frames = p.table[TABLE_FRAMES];

    const int tiles_x = (p.w + TILE_X - 1) / TILE_X;
    Tile tile;
    tile.x0 = block.x % tiles_x * TILE_X, tile.y0 = block.x / tiles_x * TILE_Y;
    tile.x1 = least(tile.x0 + TILE_X, p.w), tile.y1 = least(tile.y0 + TILE_Y, p.h);
    tile.ky0 = most(0, tile.y0 - p.reach);
    tile.rows = p.reach < 0 ? 0 : least(p.h, tile.y1 + p.reach) - tile.ky0;

    PHASE {
        // The window of a tile is that of its nearest cells in every row, so the corners of a disc are left out.
        for (int row = tid; row < tile.rows; row += block.threads) {
            const int y = tile.ky0 + row, away = y < tile.y0 ? tile.y0 - y : y >= tile.y1 ? y - tile.y1 + 1 : 0;
            row_x[row] = most(0, tile.x0 - p.half[away]);
            row_start[row] = least(p.w, tile.x1 + p.half[away]) - row_x[row];
        }
        for (int q = tid; q < QUERIES; q += block.threads) {
            const int y = tile.y0 + q / TILE_X, x = tile.x0 + q % TILE_X, real = y < p.h && x < p.w;
            for (int i = 0; i < p.k; ++i) list[i * QUERIES + q] = 0;
            counts[q] = 0;
            // Nothing is better than the largest number: cells past the edge never take a candidate.
            limits[q] = !real ? ~(wide)0 : p.joint ? p.floor[y * p.w + x] : 0;
        }
    }
    SYNC();
    PHASE {
        if (tid == 0) {
            int start = 0;
            for (int row = 0; row < tile.rows; ++row) {
                const int broad = row_start[row];
                row_start[row] = start;
                start += broad;
            }
            row_start[tile.rows] = start;
        }
    }
    SYNC();
    tile.window_keys = row_start[tile.rows];

    // This block's share of the keys, in parts of KEYS.
    Cursor cursor = {0, 0};
    int remaining = 0;
    if (p.joint) {
        long long total = 0;
        for (int frame = 0; frame < frames; ++frame) total += parts_of(p, tile, frame);
        const int begin = (int)(total * block.y / p.shares);
        remaining = (int)(total * (block.y + 1) / p.shares) - begin;
        cursor.part = begin;
        while (cursor.frame < frames && cursor.part >= parts_of(p, tile, cursor.frame)) {
            cursor.part -= parts_of(p, tile, cursor.frame);
            ++cursor.frame;
        }
    } else if ((int)block.y < frames) {
        cursor.frame = block.y;
        remaining = parts_of(p, tile, block.y);
    }

#if CRWEDGE_TENSOR
    const int lane = THREAD % 32, warp = THREAD / 32, row_warp = warp % ROW_WARPS, key_warp = warp / ROW_WARPS;
    const half_bits* query_frame = p.features + (long long)p.table[TABLE_QUERY] * cells * CHANNELS;
    const long long slot_size = (long long)cells * CHANNELS;

    // A warp keeps its 32 queries in registers for the whole block: two fragments of 16 x 16 for each 16 channels.
    word query[2][CHANNELS / 16][4];
#pragma unroll
    for (int m = 0; m < 2; ++m) {
#pragma unroll
        for (int part = 0; part < 2; ++part) {
            const int q = row_warp * 32 + m * 16 + part * 8 + lane / 4;
            const int y = least(tile.y0 + q / TILE_X, p.h - 1), x = least(tile.x0 + q % TILE_X, p.w - 1);
            const word* from = (const word*)(query_frame + ((long long)y * p.w + x) * CHANNELS) + lane % 4;
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
        coords[THREAD] = locate(next.part * KEYS + THREAD, frame_fact(p.table, next.frame, FRAME_GLOBAL), tile,
                                     row_start, row_x, p.h, p.w);
    barrier();
    if (remaining > 0)
        fetch(memory + at.stages, coords, p.features + frame_fact(p.table, next.frame, FRAME_SLOT) * slot_size, p.w);
    copies_close();
    advance(next, p, tile, frames);
    if (THREAD < KEYS && remaining > 1)
        coords[KEYS + THREAD] = locate(next.part * KEYS + THREAD, frame_fact(p.table, next.frame, FRAME_GLOBAL), tile,
                                            row_start, row_x, p.h, p.w);
    barrier();
    for (int n = 0; n < remaining; ++n) {
        if (n + 1 < remaining)
            fetch(memory + at.stages + (n + 1) % 2 * (KEYS * CHANNELS * 2), coords + (n + 1) % 3 * KEYS,
                  p.features + frame_fact(p.table, next.frame, FRAME_SLOT) * slot_size, p.w);
        copies_close();
        advance(next, p, tile, frames);
        if (n + 2 < remaining && THREAD < KEYS)
            coords[(n + 2) % 3 * KEYS + THREAD] =
                locate(next.part * KEYS + THREAD, frame_fact(p.table, next.frame, FRAME_GLOBAL), tile, row_start, row_x,
                       p.h, p.w);
        copies_wait_but_last();
        barrier();

        int full = 0;
        const byte* stage = memory + at.stages + n % 2 * (KEYS * CHANNELS * 2);
        const int* here = coords + n % 3 * KEYS + key_warp * 16;
        const int everywhere = frame_fact(p.table, cursor.frame, FRAME_GLOBAL);
        // Keys come row by row: a warp whose four rows of queries are out of reach of all its keys leaves them out.
        const int first = here[0] >> 16, last = here[15] < 0 ? p.h : here[15] >> 16, top = tile.y0 + row_warp * 4;
        if (here[0] >= 0 && (everywhere || (first <= top + 3 + p.reach && last >= top - p.reach))) {
            float sums[2][2][4] = {};
#pragma unroll
            for (int pair = 0; pair < CHANNELS / 32; ++pair) {
#pragma unroll
                for (int eight = 0; eight < 2; ++eight) {
                    word key[4];
                    load_4(key, stage + piece_at(key_warp * 16 + eight * 8 + lane % 8, pair * 4 + lane / 8));
#pragma unroll
                    for (int m = 0; m < 2; ++m) {
                        multiply(sums[m][eight], query[m][pair * 2], key[0], key[1]);
                        multiply(sums[m][eight], query[m][pair * 2 + 1], key[2], key[3]);
                    }
                }
            }
#pragma unroll
            for (int m = 0; m < 2; ++m) {
#pragma unroll
                for (int part = 0; part < 2; ++part) {
                    const int q = row_warp * 32 + m * 16 + part * 8 + lane / 4;
                    const float least_value = enough(limits[q]);
#pragma unroll
                    for (int eight = 0; eight < 2; ++eight) {
#pragma unroll
                        for (int i = 0; i < 2; ++i) {
                            const float value = sums[m][eight][part * 2 + i];
                            if (value >= least_value)
                                full |= offer(value, q, here[eight * 8 + lane % 4 * 2 + i], cursor.frame, everywhere, p, tile,
                                              limits, candidates, counts);
                        }
                    }
                }
            }
        }
        // The barrier also tells that every warp is done with this stage.
        if (barrier_or(full)) {
            for (int q = THREAD; q < QUERIES; q += THREADS) sort_in(q, p, tile, list, candidates, limits, counts);
            barrier();
        }
        advance(cursor, p, tile, frames);
    }
#else
    float *stage_q = (float*)(memory + at.stages), *stage_k = stage_q + QUERIES * (CHUNK + 1);
    float* similarity = (float*)(memory + at.similarity);
    int* flags = (int*)(memory + at.flags);
    const half_bits* query_frame = p.features + (long long)p.table[TABLE_QUERY] * cells * p.channels;
    for (int n = 0; n < remaining; ++n) {
        const int everywhere = frame_fact(p.table, cursor.frame, FRAME_GLOBAL);
        const half_bits* frame = p.features + (long long)frame_fact(p.table, cursor.frame, FRAME_SLOT) * cells * p.channels;
        PHASE {
            if (tid == 0) flags[0] = 0;
            for (int key = tid; key < KEYS; key += block.threads)
                coords[key] = locate(cursor.part * KEYS + key, everywhere, tile, row_start, row_x, p.h, p.w);
            for (int i = tid; i < QUERIES * KEYS; i += block.threads) similarity[i] = 0;
        }
        SYNC();
        for (int from = 0; from < p.channels; from += CHUNK) {
            const int wide_chunk = least(CHUNK, p.channels - from);
            PHASE {
                for (int i = tid; i < (QUERIES + KEYS) * CHUNK; i += block.threads) {
                    const int row = i / CHUNK, c = i % CHUNK;
                    float value = 0;
                    if (c < wide_chunk && row < QUERIES) {
                        const int y = least(tile.y0 + row / TILE_X, p.h - 1), x = least(tile.x0 + row % TILE_X, p.w - 1);
                        value = half_to_float(query_frame[((long long)y * p.w + x) * p.channels + from + c]);
                    } else if (c < wide_chunk && coords[row - QUERIES] >= 0) {
                        const int coord = coords[row - QUERIES];
                        value = half_to_float(frame[((long long)(coord >> 16) * p.w + (coord & 0xFFFF)) * p.channels + from + c]);
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
                if (similarity[i] >= enough(limits[q]) &&
                    offer(similarity[i], q, coords[i % KEYS], cursor.frame, everywhere, p, tile, limits, candidates, counts))
                    flags[0] = 1;
            }
        }
        SYNC();
        if (flags[0]) {
            PHASE {
                for (int q = tid; q < QUERIES; q += block.threads) sort_in(q, p, tile, list, candidates, limits, counts);
            }
        }
        SYNC();
        advance(cursor, p, tile, frames);
    }
#endif

    SYNC();
    PHASE {
        for (int q = tid; q < QUERIES; q += block.threads) {
            const int y = tile.y0 + q / TILE_X, x = tile.x0 + q % TILE_X;
            if (y >= p.h || x >= p.w) continue;
            sort_in(q, p, tile, list, candidates, limits, counts);
            wide* out = p.partial + ((long long)(y * p.w + x) * p.shares + block.y) * p.k;
            for (int i = 0; i < p.k; ++i) out[i] = list[i * QUERIES + q];
        }
    }
}

struct Settle {
    const wide* partial;  // (cells, shares, k)
    const int* table;
    float* labels;  // (slots, cells, count)
    float* latest;  // (cells, count) the result once more, in a place that stays
    word* live;     // (cells, words) which labels are above zero in the result
    int cells, count, words, shares, k, joint;
    float sharpness;  // 1 / temperature
};

enum { GROUP = 32, GROUPS = 4 };

// A group of 32 threads settles a cell. Shared memory of a group: k kept entries, the shares' lists, k weights, the live words.
KERNEL(settle, Settle, GROUP * GROUPS) {
    const int listed = p.shares * p.k, staged = p.joint ? listed : 0;
    const int kept_at = 0, lists_at = p.k * 8, weights_at = lists_at + staged * 8, live_at = weights_at + GROUP * 8;
    const int group_bytes = padded(live_at + p.words * 4);
    const long long out_slot = (long long)p.table[TABLE_QUERY] * p.cells * p.count;

    PHASE {
        const int lane = tid % GROUP, cell = block.x * GROUPS + tid / GROUP;
        byte* memory = block.shared + tid / GROUP * group_bytes;
        wide *kept = (wide*)(memory + kept_at), *lists = (wide*)(memory + lists_at);
        word* live = (word*)(memory + live_at);
        for (int i = lane; i < p.k; i += GROUP) kept[i] = 0;
        for (int i = lane; i < p.words; i += GROUP) live[i] = 0;
        for (int i = lane; i < staged; i += GROUP) lists[i] = cell < p.cells ? p.partial[(long long)cell * listed + i] : 0;
    }
    SYNC();
    PHASE {
        // A candidate's place is the number of better ones; the copies of an entry take places one after the other.
        const int lane = tid % GROUP;
        byte* memory = block.shared + tid / GROUP * group_bytes;
        wide *kept = (wide*)(memory + kept_at), *lists = (wide*)(memory + lists_at);
        for (int i = lane; i < staged; i += GROUP) {
            const wide entry = lists[i];
            int rank = 0;
            for (int j = 0; entry && j < staged && rank < p.k; ++j) rank += lists[j] > entry || (lists[j] == entry && j < i);
            if (entry && rank < p.k) kept[rank] = entry;
        }
    }
    SYNC();
    PHASE {
        // Each lane's best similarity and, of k in each frame, over all lists.
        const int lane = tid % GROUP, cell = block.x * GROUPS + tid / GROUP;
        byte* memory = block.shared + tid / GROUP * group_bytes;
        wide* kept = (wide*)(memory + kept_at);
        float* weights = (float*)(memory + weights_at);
        if (p.joint) {
            if (lane < p.k)
                weights[lane] = kept[lane] ? expf((unordered((word)(kept[lane] >> 32)) - unordered((word)(kept[0] >> 32))) * p.sharpness) : 0.0f;
        } else {
            wide best = 0;
            for (int i = lane; cell < p.cells && i < listed; i += GROUP) {
                const wide entry = p.partial[(long long)cell * listed + i];
                if (entry > best) best = entry;
            }
            ((word*)weights)[lane] = (word)(best >> 32);
        }
    }
    SYNC();
    if (!p.joint) {
        PHASE {
            const int lane = tid % GROUP, cell = block.x * GROUPS + tid / GROUP;
            float* weights = (float*)(block.shared + tid / GROUP * group_bytes + weights_at);
            word best = 0;
            for (int i = 0; i < GROUP; ++i)
                if (((word*)weights)[i] > best) best = ((word*)weights)[i];
            float sum = 0;
            for (int i = lane; cell < p.cells && i < listed; i += GROUP) {
                const wide entry = p.partial[(long long)cell * listed + i];
                if (entry)
                    sum += (float)frame_fact(p.table, (int)(~(word)entry / (word)p.cells), FRAME_COPIES) *
                           expf((unordered((word)(entry >> 32)) - unordered(best)) * p.sharpness);
            }
            weights[GROUP + lane] = sum;
        }
        SYNC();
    }
    PHASE {
        const int lane = tid % GROUP, cell = block.x * GROUPS + tid / GROUP;
        byte* memory = block.shared + tid / GROUP * group_bytes;
        const wide* kept = (const wide*)(memory + kept_at);
        const float* weights = (const float*)(memory + weights_at);
        word* live = (word*)(memory + live_at);
        float total = 0;
        word best = 0;
        if (p.joint) {
            for (int i = 0; i < p.k; ++i) total += weights[i];
        } else {
            for (int i = 0; i < GROUP; ++i) total += weights[GROUP + i];
            for (int i = 0; i < GROUP; ++i)
                if (((const word*)weights)[i] > best) best = ((const word*)weights)[i];
        }
        const float share = total > 0 ? 1.0f / total : 0.0f;
        for (int label = lane; cell < p.cells && label < p.count; label += GROUP) {
            float sum = 0;
            for (int i = 0; i < (p.joint ? p.k : listed); ++i) {
                const wide entry = p.joint ? kept[i] : p.partial[(long long)cell * listed + i];
                if (!entry) continue;
                const word order = ~(word)entry, frame = order / (word)p.cells, at = order % (word)p.cells;
                const long long slot = frame_fact(p.table, (int)frame, FRAME_SLOT);
                float weight = weights[p.joint ? i : 0];
                if (!p.joint)
                    weight = (float)frame_fact(p.table, (int)frame, FRAME_COPIES) *
                             expf((unordered((word)(entry >> 32)) - unordered(best)) * p.sharpness);
                sum += weight * p.labels[(slot * p.cells + at) * p.count + label];
            }
            sum *= share;
            p.labels[out_slot + (long long)cell * p.count + label] = sum;
            p.latest[(long long)cell * p.count + label] = sum;
            if (sum > 0) shared_or(&live[label / 32], 1u << label % 32);
        }
    }
    SYNC();
    PHASE {
        const int lane = tid % GROUP, cell = block.x * GROUPS + tid / GROUP;
        const word* live = (const word*)(block.shared + tid / GROUP * group_bytes + live_at);
        for (int i = lane; cell < p.cells && i < p.words; i += GROUP) p.live[(long long)cell * p.words + i] = live[i];
    }
}

#ifdef CRWEDGE_HOST
extern "C" int attend_shared_bytes(int k, int window_rows, int channels, int tensor) {
    return layout_of(k, window_rows, channels, tensor).bytes;
}
extern "C" int attend_queries() { return QUERIES; }
#endif
