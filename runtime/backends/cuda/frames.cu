// What stands before and after the attention on the device: size of frames, layout of features, and the label map of the
// frame's own size.
#include "portable.cuh"

enum { THREADS = 256, SQUARE = 32 };

struct Resize {
    const byte* source;  // (source_height, source_width, 3)
    byte* rgb;           // (height, width, 3)
    int source_height, source_width;
    int full_height, full_width;   // of the whole scaled frame
    int top, left, height, width;  // the part of it that is wanted
};

// Linear, antialiased where it shrinks: each output pixel is the mean of the source under a triangle whose half width is one
// source pixel or the ratio of the sizes, whichever is more. The same as Pillow's BILINEAR but for its rounding between axes.
KERNEL(resize, Resize, THREADS) {
    PHASE {
        const int at = block.x * block.threads + tid;
        if (at < p.height * p.width) {
            const int y = at / p.width + p.top, x = at % p.width + p.left;
            const float ratio_y = (float)p.source_height / (float)p.full_height, ratio_x = (float)p.source_width / (float)p.full_width;
            const float reach_y = ratio_y > 1.0f ? ratio_y : 1.0f, reach_x = ratio_x > 1.0f ? ratio_x : 1.0f;
            const float centre_y = ((float)y + 0.5f) * ratio_y, centre_x = ((float)x + 0.5f) * ratio_x;
            const int y0 = max(0, (int)(centre_y - reach_y + 0.5f)), y1 = min(p.source_height, (int)(centre_y + reach_y + 0.5f));
            const int x0 = max(0, (int)(centre_x - reach_x + 0.5f)), x1 = min(p.source_width, (int)(centre_x + reach_x + 0.5f));
            float sums[3] = {0, 0, 0}, total = 0;
            for (int v = y0; v < y1; ++v) {
                const float weight_y = 1.0f - fabsf(((float)v + 0.5f - centre_y) / reach_y);
                if (weight_y <= 0) continue;
                for (int u = x0; u < x1; ++u) {
                    const float weight = weight_y * (1.0f - fabsf(((float)u + 0.5f - centre_x) / reach_x));
                    if (weight <= 0) continue;
                    const byte* from = p.source + ((long long)v * p.source_width + u) * 3;
                    total += weight;
                    for (int c = 0; c < 3; ++c) sums[c] += weight * (float)from[c];
                }
            }
            for (int c = 0; c < 3; ++c) p.rgb[at * 3 + c] = (byte)(sums[c] / total + 0.5f);
        }
    }
}

struct StoreFeatures {
    const float* source;  // (channels, source_cells), what an engine gives
    half_bits* features;  // (cells, channels)
    int* not_finite;      // set to 1 when a feature is NaN or beyond float16
    int channels, cells, w;                      // of the part that is stored: all but the halo
    int source_cells, source_w, source_first;  // of what was given, and its cell that is the part's first
};

// Features to the layout of the context: a square of 32 cells x 32 channels turns in shared memory, so that both sides of
// the copy are contiguous. Grid: cells / 32, channels / 32.
KERNEL(store_features, StoreFeatures, THREADS) {
    float* square = (float*)block.shared;
    const int cell0 = block.x * SQUARE, channel0 = block.y * SQUARE;
    PHASE {
        for (int i = tid; i < SQUARE * SQUARE; i += block.threads) {
            const int channel = channel0 + i / SQUARE, cell = cell0 + i % SQUARE;
            float value = 0;
            const int from = p.source_first + cell / p.w * p.source_w + cell % p.w;
            if (channel < p.channels && cell < p.cells) value = p.source[(long long)channel * p.source_cells + from];
            // A float16 holds nothing beyond 65504, and unit-length features stay below 1: this finds NaN too.
            if (!(fabsf(value) <= 65504.0f)) *p.not_finite = 1;
            square[i % SQUARE * (SQUARE + 1) + i / SQUARE] = value;
        }
    }
    SYNC();
    PHASE {
        for (int i = tid; i < SQUARE * SQUARE; i += block.threads) {
            const int cell = cell0 + i / SQUARE, channel = channel0 + i % SQUARE;
            if (channel < p.channels && cell < p.cells)
                p.features[(long long)cell * p.channels + channel] = float_to_half(square[i / SQUARE * (SQUARE + 1) + i % SQUARE]);
        }
    }
}

struct Upsample {
    const float* labels;          // (h * w, count)
    const uint32* label_bitmask;  // (h * w, bitmask_words) which labels are above zero
    const byte* ids;              // (count) id of each label
    uint32* range;                // (count, 2) ordered min and max of each label's map, or null for no stretching
    byte* out;                    // (height, width)
    int h, w, y, x, full_h, full_w;                  // grid and origin of the view, grid of the whole frame
    int count, bitmask_words, height, width;
    int box_top, box_left, box_height, box_width;  // the pixels that belong to the view
};

// Where a pixel falls on one axis of the view: two cells, and the weight of the second one.
struct Tap {
    int low, high;
    float part;
};

DEVICE Tap tap_of(int pixel, int pixels, int full, int origin, int cells) {
    // (pixel + 1/2) * full / pixels - 1/2 - origin, as a fraction.
    const int over = (2 * pixel + 1) * full - pixels * (1 + 2 * origin), under = 2 * pixels;
    Tap tap = {0, min(1, cells - 1), 0.0f};
    if (over <= 0) return tap;
    tap.low = min(over / under, cells - 1);
    tap.high = min(tap.low + 1, cells - 1);
    if (tap.low < tap.high) tap.part = (float)(over - tap.low * under) / (float)under;
    return tap;
}

struct Taps {
    int a, b, c, d;  // cells: upper left, upper right, lower left, lower right
    float fy, fx;
};

// `at` counts the pixels of the box.
DEVICE Taps taps_of(const Upsample& p, int at) {
    const Tap y = tap_of(p.box_top + at / p.box_width, p.height, p.full_h, p.y, p.h);
    const Tap x = tap_of(p.box_left + at % p.box_width, p.width, p.full_w, p.x, p.w);
    return {y.low * p.w + x.low, y.low * p.w + x.high, y.high * p.w + x.low, y.high * p.w + x.high, y.part, x.part};
}

DEVICE float value_at(const Upsample& p, const Taps& at, int label) {
    const float left = p.labels[at.a * p.count + label] * (1.0f - at.fy) + p.labels[at.c * p.count + label] * at.fy;
    const float right = p.labels[at.b * p.count + label] * (1.0f - at.fy) + p.labels[at.d * p.count + label] * at.fy;
    return left * (1.0f - at.fx) + right * at.fx;
}

// Min and max of every label's resized map, for protocols that stretch each map. `range` starts as (all ones, 0).
KERNEL(label_range, Upsample, THREADS) {
    uint32* both = (uint32*)block.shared;
    const int label = block.y;
    PHASE {
        uint32 low = 0xFFFFFFFFu, high = 0;
        for (int at = block.x * block.threads + tid; at < p.box_height * p.box_width; at += block.threads * 64) {
            const uint32 value = ordered(value_at(p, taps_of(p, at), label));
            low = value < low ? value : low;
            high = value > high ? value : high;
        }
        both[tid * 2] = low, both[tid * 2 + 1] = high;
    }
    SYNC();
    PHASE {
        if (tid == 0) {
            uint32 low = 0xFFFFFFFFu, high = 0;
            for (int i = 0; i < block.threads; ++i) {
                low = both[i * 2] < low ? both[i * 2] : low;
                high = both[i * 2 + 1] > high ? both[i * 2 + 1] : high;
            }
            global_min(&p.range[label * 2], low);
            global_max(&p.range[label * 2 + 1], high);
        }
    }
}

// Linear resize of the soft labels and argmax, one thread for each pixel of the box. Only labels above zero in one of a
// pixel's four cells are looked at, so hundreds of labels cost what two cost. Ties go to the lower label.
KERNEL(upsample_argmax, Upsample, THREADS) {
    PHASE {
        const int at = block.x * block.threads + tid;
        if (at < p.box_height * p.box_width) {
            const Taps taps = taps_of(p, at);
            float top = 0;
            int winner = 0;
            for (int i = 0; i < p.bitmask_words; ++i) {
                uint32 bits = p.label_bitmask[taps.a * p.bitmask_words + i] | p.label_bitmask[taps.b * p.bitmask_words + i] |
                              p.label_bitmask[taps.c * p.bitmask_words + i] | p.label_bitmask[taps.d * p.bitmask_words + i];
                for (; bits; bits &= bits - 1) {
                    const int label = i * 32 + lowest_bit(bits);
                    float value = value_at(p, taps, label);
                    if (p.range) {
                        const float low = unordered(p.range[label * 2]), high = unordered(p.range[label * 2 + 1]);
                        value = (value - low) / (high > low ? high - low : 1.0f);
                    }
                    if (value > top) top = value, winner = label;
                }
            }
            const int y = p.box_top + at / p.box_width, x = p.box_left + at % p.box_width;
            p.out[(long long)y * p.width + x] = p.ids[winner];
        }
    }
}
