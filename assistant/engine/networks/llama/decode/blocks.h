/* Weights: ggml's own numbers, 16 rows of a matrix interleaved, so that a lane is a row and no sum over lanes is needed.
 *
 * A block of ggml is 32 or 256 columns of a row (ggml-quants.c of https://github.com/ggml-org/ggml): small integers in two
 * planes, `low` bits and `high` bits of each, and what makes floats of them. Here a block is that of 16 rows:
 *   words of the low plane, then of the high one: 4 bytes of row 0, of row 1, ... of row 15 (64 bytes)
 *   K-quants alone: 16 bytes of scales (then minima) a row: byte 0 of the 16 rows, byte 1, ...
 *   float16 d of the 16 rows, then m where the kind has minima
 * It takes what the file's takes; K-quants with 6-bit scales take up to 4 % more. `place` says where a column lies.
 * B16: 32 columns of 16 rows as bfloat16; number 16 c + r: row r, column c.
 */
#pragma once
#include <string.h>

enum { B16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K };

typedef struct {
    int columns, low, high;               /* columns of a block; bits of the planes */
    int group;                            /* columns that share a scale */
    int minimum, offset;                  /* weight = scale * (q - offset) - or, of flat kinds, + minimum */
    int at_low, at_high, at_scales, at_d; /* where they are in a row's block of ggml; m follows d */
    int bytes;                            /* of that block */
} Form;

INLINE Form form_of(const int kind) {
    switch (kind) {
    case Q4_0: return (Form){32, 4, 0, 32, 0, 8, 2, 0, 0, 0, 18};
    case Q4_1: return (Form){32, 4, 0, 32, 1, 0, 4, 0, 0, 0, 20};
    case Q5_0: return (Form){32, 4, 1, 32, 0, 16, 6, 2, 0, 0, 22};
    case Q5_1: return (Form){32, 4, 1, 32, 1, 0, 8, 4, 0, 0, 24};
    case Q8_0: return (Form){32, 8, 0, 32, 0, 128, 2, 0, 0, 0, 34};
    case IQ4_NL: return (Form){32, 4, 0, 32, 0, 128, 2, 0, 0, 0, 18};
    case Q2_K: return (Form){256, 2, 0, 16, 1, 0, 16, 0, 0, 80, 84};
    case Q3_K: return (Form){256, 2, 1, 16, 0, 4, 32, 0, 96, 108, 110};
    case Q4_K: return (Form){256, 4, 0, 32, 1, 0, 16, 0, 4, 0, 144};
    case Q5_K: return (Form){256, 4, 1, 32, 1, 0, 48, 16, 4, 0, 176};
    case Q6_K: return (Form){256, 4, 2, 16, 0, 32, 0, 128, 192, 208, 210};
    default: return (Form){32, 16, 0, 32, 0, 0, 0, 0, 0, 0, 64};
    }
}

INLINE int is_k(Form f) { return f.columns == 256; }
INLINE int low_words(Form f) { return f.columns * f.low / 32; }
INLINE int high_words(Form f) { return f.columns * f.high / 32; }
INLINE int scales_at(Form f) { return 64 * (low_words(f) + high_words(f)); }
INLINE int d_at(Form f) { return scales_at(f) + (is_k(f) ? 16 * TILE : 0); }
INLINE int block_bytes(const int kind) {
    Form f = form_of(kind);
    return kind == B16 ? 1024 : d_at(f) + 2 * TILE * (1 + f.minimum);
}

typedef struct { int word, shift, high_word, high_shift; } Place;

INLINE Place place(const int kind, int g, int v) {
    /* of columns 32 g + 4 v .. + 3 of a block: a byte each of a word of either plane, from bit `shift` on */
    switch (kind) {
    case Q8_0: return (Place){v, 0, 0, 0};
    case Q2_K: return (Place){8 * (g >> 2) + v, 2 * (g & 3), 0, 0};
    case Q3_K: return (Place){8 * (g >> 2) + v, 2 * (g & 3), v, g};
    case Q4_K: case Q5_K: return (Place){8 * (g >> 1) + v, 4 * (g & 1), v, g};
    case Q6_K: return (Place){16 * (g >> 2) + 8 * (g & 1) + v, 4 * (g >> 1 & 1), 8 * (g >> 2) + v, 2 * (g & 3)};
    default: return (Place){v & 3, 4 * (v >> 2), 0, v};
    }
}

static const int8_t IQ4[16] = {1, 24, 45, 63, 79, 93, 106, 118, 129 - 256, 141 - 256, 153 - 256, 166 - 256, 181 - 256, 197 - 256,
                               217 - 256, 241 - 256}; /* 128 more than the numbers, as bytes */

static int blocks_in(int kind, int k) { return k / form_of(kind).columns; }
static size_t tile_bytes(int kind, int k) { return (size_t)blocks_in(kind, k) * block_bytes(kind); }

/* ---- packing ---- */

INLINE uint32_t across(uint32_t bits) {
    /* bit 4 v + b -> bit v of byte b */
    uint32_t out = 0;
    for (int b = 0; b < 4; b++) out |= _pext_u32(bits, 0x11111111u << b) << 8 * b;
    return out;
}

static void scales_of(int kind, const uint8_t *s, uint8_t *out) {
    /* a K-quant's 16 bytes: scales, or 8 scales and 8 minima, or (Q2_K) both in each byte */
    for (int j = 0; j < 8; j++)
        switch (kind) {
        case Q3_K:
            out[j] = ((s[j] & 15) | (s[8 + j % 4] >> 2 * (j / 4) & 3) << 4) - 32;
            out[j + 8] = (s[j] >> 4 | (s[8 + j % 4] >> (4 + 2 * (j / 4)) & 3) << 4) - 32;
            break;
        case Q4_K: case Q5_K:
            out[j] = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
            out[j + 8] = j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | s[j] >> 6 << 4;
            break;
        default: out[j] = s[j], out[j + 8] = s[j + 8];
        }
}

INLINE void pack_words(const uint8_t *from, int words, uint32_t flip, uint8_t *out) {
    for (int w = 0; w < words; w++) {
        uint32_t bits;
        memcpy(&bits, from + 4 * w, 4);
        bits ^= flip;
        memcpy(out + 64 * w, &bits, 4);
    }
}

INLINE void pack_row(const int kind, const uint8_t *in, int r, uint8_t *block) {
    /* a row's block of ggml, or 32 bfloat16, into the block of its tile */
    const Form f = form_of(kind);
    if (kind == B16) {
        for (int c = 0; c < GROUP; c++) memcpy(block + 2 * (TILE * c + r), in + 2 * c, 2);
        return;
    }
    pack_words(in + f.at_low, low_words(f), kind == Q8_0 ? 0x80808080u : 0, block + 4 * r);
    uint8_t *high = block + 64 * low_words(f) + 4 * r;
    if (kind == Q5_0 || kind == Q5_1) {
        uint32_t bits;
        memcpy(&bits, in + f.at_high, 4);
        bits = across(bits);
        memcpy(high, &bits, 4);
    } else pack_words(in + f.at_high, high_words(f), 0, high);
    if (is_k(f)) {
        uint8_t scales[16];
        scales_of(kind, in + f.at_scales, scales);
        for (int s = 0; s < 16; s++) block[scales_at(f) + TILE * s + r] = scales[s];
    }
    memcpy(block + d_at(f) + 2 * r, in + f.at_d, 2);
    if (f.minimum) memcpy(block + d_at(f) + 2 * TILE + 2 * r, in + f.at_d + 2, 2);
}

typedef struct { const uint8_t *rows; int kind, n, k; uint8_t *out; } Packing;

INLINE void pack_tiles(const int kind, const Packing *p, int from, int to) {
    int blocks = blocks_in(kind, p->k), bytes = form_of(kind).bytes;
    for (int tile = from; tile < to; tile++) {
        uint8_t *out = p->out + tile * tile_bytes(kind, p->k);
        int rows = smaller(TILE, p->n - tile * TILE);
        if (rows < TILE) memset(out, 0, tile_bytes(kind, p->k));
        for (int b = 0; b < blocks; b++)
            for (int r = 0; r < rows; r++)
                pack_row(kind, p->rows + ((size_t)(tile * TILE + r) * blocks + b) * bytes, r, out + (size_t)b * block_bytes(kind));
    }
}

/* The kind is a constant in each case: so the compiler knows where everything lies. */
#define FOR_KIND(kind, call)                    \
    switch (kind) {                             \
    case Q4_0: call(Q4_0); break;               \
    case Q4_1: call(Q4_1); break;               \
    case Q5_0: call(Q5_0); break;               \
    case Q5_1: call(Q5_1); break;               \
    case Q8_0: call(Q8_0); break;               \
    case IQ4_NL: call(IQ4_NL); break;           \
    case Q2_K: call(Q2_K); break;               \
    case Q3_K: call(Q3_K); break;               \
    case Q4_K: call(Q4_K); break;               \
    case Q5_K: call(Q5_K); break;               \
    case Q6_K: call(Q6_K); break;               \
    default: call(B16);                         \
    }

static void run_pack(void *data, int thread, int threads) {
    const Packing *p = data;
    int tiles = up_to(p->n, TILE) / TILE, from = (int)((int64_t)tiles * thread / threads);
    int to = (int)((int64_t)tiles * (thread + 1) / threads);
#define PACK(kind) pack_tiles(kind, p, from, to)
    FOR_KIND(p->kind, PACK)
#undef PACK
}

/* ---- unpacking ---- */

INLINE I codes(const int kind, const uint8_t *block, int g, int v) {
    /* bytes q of columns 32 g + 4 v .. + 3: byte 4 r + b is row r, column b of these */
    const Form f = form_of(kind);
    Place p = place(kind, g, v);
    I q = i_load(block + 64 * p.word);
    if (f.low == 8) return q;
    q = i_and(i_right(q, p.shift), i_all(0x01010101 * ((1 << f.low) - 1)));
    if (kind == IQ4_NL) return i_looked_up(IQ4, q);
    if (!f.high) return q;
    I high = i_load(block + 64 * (low_words(f) + p.high_word));
    if (kind == Q3_K || kind == Q5_K) /* shifts of which only the processor knows how far */
        return i_or(q, i_left(i_and(i_right(high, p.high_shift), i_all(0x01010101)), f.low));
    int left = f.low - p.high_shift;
    high = left > 0 ? i_left(high, left) : i_right(high, -left);
    return i_or(q, i_and(high, i_all(0x01010101 * (((1 << f.high) - 1) << f.low))));
}

INLINE F scale_of(const int kind, const uint8_t *block, F d, int g, int part) {
    /* of columns 32 g + 16 part ... in the 16 rows */
    const Form f = form_of(kind);
    const uint8_t *scales = block + scales_at(f) + TILE * (f.group == 16 ? 2 * g + part : g);
    if (!is_k(f)) return d;
    if (kind == Q2_K) return f_mul(d, f_of(i_and(i_unsigned(scales), i_all(15))));
    return f_mul(d, f_of(kind == Q3_K || kind == Q6_K ? i_signed(scales) : i_unsigned(scales)));
}

INLINE F minimum_of(const int kind, const uint8_t *block, int g, int part) {
    /* what a K-quant's dmin is multiplied with */
    const uint8_t *scales = block + scales_at(form_of(kind));
    if (kind == Q2_K) return f_of(i_and(i_right(i_unsigned(scales + TILE * (2 * g + part)), 4), i_all(15)));
    return f_of(i_unsigned(scales + TILE * (8 + g)));
}

INLINE void columns_of(const int kind, const uint8_t *block, int g, F *column) {
    /* 32 columns of a block, a lane for each row */
    const Form f = form_of(kind);
    if (kind == B16) {
        for (int c = 0; c < GROUP; c++) column[c] = f_bfloat16(block + 32 * c);
        return;
    }
    F d = f_halves(block + d_at(f)), m = f.minimum ? f_halves(block + d_at(f) + 2 * TILE) : f_zero();
    for (int v = 0; v < 8; v++) {
        F scale = scale_of(kind, block, d, g, v / 4), least = m;
        if (is_k(f) && f.minimum) least = f_sub(f_zero(), f_mul(m, minimum_of(kind, block, g, v / 4)));
        I q = codes(kind, block, g, v);
        for (int b = 0; b < 4; b++)
            column[4 * v + b] = f_fma(f_sub(f_of(i_byte(q, b)), f_all(f.offset)), scale, least);
    }
}

static void columns(const Segment *segment, const uint8_t *block, int g, F *column) {
#define COLUMNS(kind) columns_of(kind, block, g, column)
    FOR_KIND(segment->kind, COLUMNS)
#undef COLUMNS
}

static const Segment *segment_of(const Linear *w, int *tile) {
    /* the segment that a tile of the linear is in, and which tile of it that is */
    const Segment *segment = w->segments;
    for (; *tile >= segment->tiles; segment++) *tile -= segment->tiles;
    return segment;
}

typedef struct { const Linear *w; void *out; int wide; } Unpack;

static void unpack_tile(const Unpack *u, int tile) {
    /* 16 rows of the weights as float32 (wide) or bfloat16 */
    int k = u->w->k, rows = smaller(TILE, u->w->n - tile * TILE), inner = tile;
    const Segment *segment = segment_of(u->w, &inner);
    const uint8_t *block = segment->blocks + inner * tile_bytes(segment->kind, k);
    int groups = form_of(segment->kind).columns / GROUP, bytes = block_bytes(segment->kind);
    F column[GROUP];
    for (int at = 0; at < k / GROUP; at++) {
        columns(segment, block + (size_t)(at / groups) * bytes, at % groups, column);
        for (int part = 0; part < 2; part++) {
            transpose16(column + 16 * part);
            for (int r = 0; r < rows; r++) {
                size_t to = (size_t)(tile * TILE + r) * k + at * GROUP + 16 * part;
                if (u->wide) f_store((float *)u->out + to, column[16 * part + r]);
                else f_store_bfloat16((uint16_t *)u->out + to, column[16 * part + r]);
            }
        }
    }
}

static void run_unpack(void *data, int thread, int threads) {
    const Unpack *u = data;
    int tiles = up_to(u->w->n, TILE) / TILE;
    int from = (int)((int64_t)tiles * thread / threads), to = (int)((int64_t)tiles * (thread + 1) / threads);
    for (int tile = from; tile < to; tile++) unpack_tile(u, tile);
}

static void embed_row(const Linear *w, int row, float *out) {
    int tile = row / TILE;
    const Segment *segment = segment_of(w, &tile);
    const uint8_t *block = segment->blocks + tile * tile_bytes(segment->kind, w->k);
    int groups = form_of(segment->kind).columns / GROUP, bytes = block_bytes(segment->kind);
    F column[GROUP];
    for (int at = 0; at < w->k / GROUP; at++) {
        columns(segment, block + (size_t)(at / groups) * bytes, at % groups, column);
        for (int c = 0; c < GROUP; c++) *out++ = ((const float *)(column + c))[row % TILE];
    }
}
