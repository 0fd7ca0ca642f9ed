// What stands before and after the attention on the device: colour, size and layout of frames, layout of features, and the
// label map of the frame's own size.
#include "portable.cuh"

enum { THREADS = 256, PACK = 32 };

struct Colour {
    const byte* luma;    // (H, pitch)
    const byte* chroma;  // (H / 2, pitch), Cb and Cr side by side
    byte* rgb;           // (H, W, 3)
    int height, width, pitch, high_definition;  // BT.709 rather than BT.601; both of limited range
};

DEVICE byte to_byte(float value) { return (byte)(value <= 0.0f ? 0.0f : value >= 255.0f ? 255.0f : value + 0.5f); }

// NV12, as cameras and hardware decoders give it, to RGB. One thread a pixel; a pixel takes the chroma of its block of 2 x 2.
KERNEL(nv12_to_rgb, Colour, THREADS) {
    PHASE {
        const int at = block.x * block.threads + tid;
        if (at < p.height * p.width) {
            const int y = at / p.width, x = at % p.width;
            const byte* pair = p.chroma + (long long)(y / 2) * p.pitch + x / 2 * 2;
            const float luma = 1.164384f * ((float)p.luma[(long long)y * p.pitch + x] - 16.0f);
            const float blue = (float)pair[0] - 128.0f, red = (float)pair[1] - 128.0f;
            const int hd = p.high_definition;
            p.rgb[at * 3] = to_byte(luma + (hd ? 1.792741f : 1.596027f) * red);
            p.rgb[at * 3 + 1] = to_byte(luma - (hd ? 0.213249f : 0.391762f) * blue - (hd ? 0.532909f : 0.812968f) * red);
            p.rgb[at * 3 + 2] = to_byte(luma + (hd ? 2.112402f : 2.017232f) * blue);
        }
    }
}

struct Resize {
    const byte* source;  // (source_height, source_width, 3)
    byte* rgb;           // (height, width, 3), or null
    float* planes;       // (3, height, width) = value * scale + shift, or null
    int source_height, source_width, height, width;
    float scale[3], shift[3];
};

// Linear, antialiased where it shrinks: each output pixel is the mean of the source under a triangle whose half width is one
// source pixel or the ratio of the sizes, whichever is more. The same as Pillow's BILINEAR but for its rounding between axes.
KERNEL(resize, Resize, THREADS) {
    PHASE {
        const int at = block.x * block.threads + tid;
        if (at < p.height * p.width) {
            const int y = at / p.width, x = at % p.width;
            const float ratio_y = (float)p.source_height / (float)p.height, ratio_x = (float)p.source_width / (float)p.width;
            const float reach_y = ratio_y > 1.0f ? ratio_y : 1.0f, reach_x = ratio_x > 1.0f ? ratio_x : 1.0f;
            const float centre_y = ((float)y + 0.5f) * ratio_y, centre_x = ((float)x + 0.5f) * ratio_x;
            const int y0 = most(0, (int)(centre_y - reach_y + 0.5f)), y1 = least(p.source_height, (int)(centre_y + reach_y + 0.5f));
            const int x0 = most(0, (int)(centre_x - reach_x + 0.5f)), x1 = least(p.source_width, (int)(centre_x + reach_x + 0.5f));
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
            for (int c = 0; c < 3; ++c) {
                const byte value = to_byte(sums[c] / total);
                if (p.rgb) p.rgb[at * 3 + c] = value;
                if (p.planes) p.planes[(long long)c * p.height * p.width + at] = (float)value * p.scale[c] + p.shift[c];
            }
        }
    }
}

struct Pack {
    const float* source;   // (channels, cells), what an engine gives
    half_bits* features;   // (slots, cells, channels)
    const int* table;
    wide* floor;           // (cells) set to 0 for the attention
    int* broken;           // set to 1 when a feature is not finite
    int channels, cells;
};

// Features to the layout of the ring: a square of 32 cells x 32 channels turns in shared memory, so that both sides of the
// copy are contiguous. Grid: cells / 32, channels / 32.
KERNEL(pack, Pack, THREADS) {
    float* square = (float*)block.shared;
    const int cell0 = block.x * PACK, channel0 = block.y * PACK;
    PHASE {
        for (int i = tid; i < PACK * PACK; i += block.threads) {
            const int channel = channel0 + i / PACK, cell = cell0 + i % PACK;
            float value = 0;
            if (channel < p.channels && cell < p.cells) value = p.source[(long long)channel * p.cells + cell];
            // A float16 holds nothing beyond 65504, and unit-length features stay below 1: this finds NaN too.
            if (!(fabsf(value) <= 65504.0f)) *p.broken = 1;
            square[i % PACK * (PACK + 1) + i / PACK] = value;
        }
    }
    SYNC();
    PHASE {
        half_bits* out = p.features + (long long)p.table[TABLE_QUERY] * p.cells * p.channels;
        for (int i = tid; i < PACK * PACK; i += block.threads) {
            const int cell = cell0 + i / PACK, channel = channel0 + i % PACK;
            if (channel < p.channels && cell < p.cells)
                out[(long long)cell * p.channels + channel] = float_to_half(square[i / PACK * (PACK + 1) + i % PACK]);
        }
        if (block.y == 0 && tid < PACK && cell0 + tid < p.cells) p.floor[cell0 + tid] = 0;
    }
}

struct Paint {
    const float* labels;  // (cells, count)
    const word* live;     // (cells, words) which labels are above zero
    const int *y_low, *y_high, *x_low, *x_high;  // taps of the linear resize: (height) and (width)
    const float *y_part, *x_part;                // weights of the high ones
    const byte* ids;      // (count) id of each label
    word* range;          // (count, 2) ordered least and largest resized value, or null for no stretching
    byte* out;            // (height, width)
    int h, w, count, words, height, width;
};

struct Taps {
    int a, b, c, d;  // cells: upper left, upper right, lower left, lower right
    float fy, fx;
};

DEVICE Taps taps_of(const Paint& p, int y, int x) {
    Taps at;
    at.a = p.y_low[y] * p.w + p.x_low[x], at.b = p.y_low[y] * p.w + p.x_high[x];
    at.c = p.y_high[y] * p.w + p.x_low[x], at.d = p.y_high[y] * p.w + p.x_high[x];
    at.fy = p.y_part[y], at.fx = p.x_part[x];
    return at;
}

DEVICE float value_at(const Paint& p, const Taps& at, int label) {
    const float left = p.labels[at.a * p.count + label] * (1.0f - at.fy) + p.labels[at.c * p.count + label] * at.fy;
    const float right = p.labels[at.b * p.count + label] * (1.0f - at.fy) + p.labels[at.d * p.count + label] * at.fy;
    return left * (1.0f - at.fx) + right * at.fx;
}

// Least and largest resized value of every label, for protocols that stretch each object's map. `range` starts as (all ones, 0).
KERNEL(spread, Paint, THREADS) {
    word* both = (word*)block.shared;
    const int label = block.y;
    PHASE {
        word low = 0xFFFFFFFFu, high = 0;
        for (int at = block.x * block.threads + tid; at < p.height * p.width; at += block.threads * 64) {
            const word value = ordered(value_at(p, taps_of(p, at / p.width, at % p.width), label));
            low = value < low ? value : low;
            high = value > high ? value : high;
        }
        both[tid * 2] = low, both[tid * 2 + 1] = high;
    }
    SYNC();
    PHASE {
        if (tid == 0) {
            word low = 0xFFFFFFFFu, high = 0;
            for (int i = 0; i < block.threads; ++i) {
                low = both[i * 2] < low ? both[i * 2] : low;
                high = both[i * 2 + 1] > high ? both[i * 2 + 1] : high;
            }
            global_min(&p.range[label * 2], low);
            global_max(&p.range[label * 2 + 1], high);
        }
    }
}

// Linear resize of the soft labels and argmax, one thread a pixel. Only labels that live in one of a pixel's four cells are
// looked at, so hundreds of labels cost what two cost. Ties go to the lower label.
KERNEL(paint, Paint, THREADS) {
    PHASE {
        const int at = block.x * block.threads + tid;
        if (at < p.height * p.width) {
            const Taps taps = taps_of(p, at / p.width, at % p.width);
            float top = 0;
            int winner = 0;
            for (int i = 0; i < p.words; ++i) {
                word live = p.live[taps.a * p.words + i] | p.live[taps.b * p.words + i] | p.live[taps.c * p.words + i] |
                            p.live[taps.d * p.words + i];
                for (; live; live &= live - 1) {
                    const int label = i * 32 + lowest_bit(live);
                    float value = value_at(p, taps, label);
                    if (p.range) {
                        const float low = unordered(p.range[label * 2]), high = unordered(p.range[label * 2 + 1]);
                        value = (value - low) / (high > low ? high - low : 1.0f);
                    }
                    if (value > top) top = value, winner = label;
                }
            }
            p.out[at] = p.ids[winner];
        }
    }
}
