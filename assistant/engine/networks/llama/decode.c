/* One token each for a few sequences, or a tree of tokens, through a Llama-family model whose weights have 4, 8 or 16 bits.
 *
 * C11 for CPUs with AVX512-VNNI, no library. Built once by the machine's own compiler and kept (native.py).
 *
 * Weights: 16 rows of a matrix lie interleaved, so that a vector lane is a row and no sum over lanes is needed. A block
 * is 32 columns of 16 rows; quantised ones are followed by float16 scales, the very ones of the GGUF file:
 *   Q4: 256 bytes of nibbles, 16 scales d, 16 minima m; weight = d * q + m.
 *       Byte 64 v + 4 r + b: row r, column 8 v + b in the low nibble and 8 v + 4 + b in the high one.
 *   Q8: 512 bytes q + 128, 16 scales d; weight = d * q.  Byte 64 v + 4 r + b: row r, column 4 v + b.
 *   B16: 512 bfloat16; number 16 c + r: row r, column c.
 * Activations, for Q4 and Q8: 16-bit integers as 256 * high + low, both signed bytes, with one float scale for each 32
 * (an error of 2^-16 of the largest), so that a product is exact in 32-bit integers but for that; scales enter in float32.
 *
 * What is computed for a row doesn't depend on the rows beside it, bit for bit.
 */
#include <immintrin.h>
#include <linux/futex.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As malloc, and at addresses that are multiples of 64; without memory left the process ends with a sentence. */
static void *checked(void *p, size_t bytes) {
    if (!p && bytes) {
        fprintf(stderr, "No memory left: %zu bytes were asked for. Close other programs.\n", bytes);
        abort();
    }
    return p;
}
static void *allocated(size_t bytes) { return checked(malloc(bytes), bytes); }
static void *aligned(size_t bytes) { return checked(aligned_alloc(64, (bytes + 63) / 64 * 64), bytes); }

enum { Q4 = 4, Q8 = 8, B16 = 16 };
enum { TILE = 16, GROUP = 32, KEYS = 32, MOST_ROWS = 128, MOST_SHARING = 16, MOST_DIM = 256, MOST_THREADS = 64 };
#define INLINE static inline __attribute__((always_inline))

typedef struct { const float *a, *b, *gain; int32_t first, rows, rank, unused; } LowRank; /* gain * (y + b a x) */
typedef struct {
    const uint8_t *blocks;
    const float *bias;
    const LowRank *low_rank;
    int32_t kind, n, k, low_ranks;
} Linear;
typedef struct {
    const float *attention_norm, *hidden_norm, *qk_norm; /* qk_norm (H + H_kv, D) or NULL */
    Linear qkv, out, gate_up, down;
    int32_t rotated, window;
} Layer;
typedef struct {
    const Layer *layers;
    const float *norm;
    Linear head;
    int32_t count, width, hidden, heads, kv_heads, head_dim;
    float eps;
} Model;
typedef struct {
    const float *x;                /* the token's embedding (C) */
    uint16_t *kv;                  /* float16 (layers, 2, H_kv, capacity, D); capacity a multiple of KEYS */
    const float *rotation;         /* cosine and sine for each pair of dimensions (D) */
    int64_t capacity, position;
    int64_t wanted;                /* whether logits after it are asked for */
    const uint32_t *seen;          /* of a tree: bits of the positions it sees, from `tree` rounded down to KEYS on; it sees
                                    * all before those. NULL: all up to its own */
    int64_t tree;                  /* the tree's first position */
} Row;

INLINE __m512 halves(const void *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p)); }
INLINE __m512 held(const float *at) {
    /* in a register: gcc would load it anew for each product, and a core loads no faster than it multiplies (70 -> 58 ms) */
    __m512 x = _mm512_load_ps(at);
    __asm__("" : "+v"(x));
    return x;
}
INLINE int smaller(int a, int b) { return a < b ? a : b; }
INLINE int larger(int a, int b) { return a > b ? a : b; }
INLINE int up_to(int n, int multiple) { return (n + multiple - 1) / multiple * multiple; }

static float half(uint16_t bits) { return _cvtsh_ss(bits); }
static size_t block_bytes(int kind) { return kind == Q4 ? 320 : kind == Q8 ? 544 : 1024; }
static const uint8_t *block_of(const Linear *w, int tile, int group) {
    return w->blocks + ((size_t)tile * (w->k / GROUP) + group) * block_bytes(w->kind);
}

/* ---- packing: rows of ggml's blocks, or of bfloat16 -> interleaved blocks ---- */

static void pack_q8(const uint8_t *in, uint8_t *block, int r) {
    memcpy(block + 512 + 2 * r, in, 2);
    for (int c = 0; c < GROUP; c++) block[c / 4 * 64 + 4 * r + c % 4] = in[2 + c] ^ 128;
}

static void pack_q4(const uint8_t *in, int has_minimum, uint8_t *block, int r) {
    uint16_t d, m;
    memcpy(&d, in, 2);
    if (has_minimum) memcpy(&m, in + 2, 2);
    else m = _cvtss_sh(-8 * half(d), 0); /* exact: a power of two */
    memcpy(block + 256 + 2 * r, &d, 2);
    memcpy(block + 288 + 2 * r, &m, 2);
    const uint8_t *q = in + (has_minimum ? 4 : 2);
    for (int c = 0; c < GROUP; c++) {
        uint8_t nibble = c < 16 ? q[c] & 15 : q[c - 16] >> 4;
        block[c / 8 * 64 + 4 * r + c % 4] |= c & 4 ? nibble << 4 : nibble;
    }
}

void pack(const uint8_t *rows, int kind, int has_minimum, int n, int k, uint8_t *out) {
    /* rows: n rows of k/32 blocks of Q4_1 (has_minimum), Q4_0 or Q8_0, or of k bfloat16. Rows up to a multiple of 16
     * are zero. */
    int groups = k / GROUP;
    size_t bytes = kind == B16 ? 64 : kind == Q8 ? 34 : has_minimum ? 20 : 18;
    memset(out, 0, (size_t)up_to(n, TILE) / TILE * groups * block_bytes(kind));
    for (int row = 0; row < n; row++)
        for (int g = 0; g < groups; g++) {
            const uint8_t *in = rows + ((size_t)row * groups + g) * bytes;
            uint8_t *block = out + ((size_t)(row / TILE) * groups + g) * block_bytes(kind);
            int r = row % TILE;
            if (kind == Q8) pack_q8(in, block, r);
            else if (kind == Q4) pack_q4(in, has_minimum, block, r);
            else for (int c = 0; c < GROUP; c++) memcpy(block + 2 * (TILE * c + r), in + 2 * c, 2);
        }
}

/* ---- unpacking ---- */

static float weight_at(const Linear *w, const uint8_t *block, int r, int c) {
    if (w->kind == B16) {
        uint32_t bits = 0;
        memcpy((char *)&bits + 2, block + 2 * (TILE * c + r), 2);
        float value;
        memcpy(&value, &bits, 4);
        return value;
    }
    uint16_t d, m;
    memcpy(&d, block + (w->kind == Q4 ? 256 : 512) + 2 * r, 2);
    if (w->kind == Q8) return half(d) * (block[c / 4 * 64 + 4 * r + c % 4] - 128);
    memcpy(&m, block + 288 + 2 * r, 2);
    uint8_t pair = block[c / 8 * 64 + 4 * r + c % 4];
    return half(d) * (c & 4 ? pair >> 4 : pair & 15) + half(m);
}

void embed(const Linear *w, const int64_t *ids, int count, float *out) {
    /* rows `ids` of the weights (count, k) */
    for (int i = 0; i < count; i++)
        for (int c = 0; c < w->k; c++)
            out[(size_t)i * w->k + c] = weight_at(w, block_of(w, (int)(ids[i] / TILE), c / GROUP), (int)(ids[i] % TILE), c % GROUP);
}

INLINE void transpose16(__m512 *r) {
    __m512 t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        for (int j = 0; j < 2; j++) {
            __m512d a = _mm512_castps_pd(t[i + j]), b = _mm512_castps_pd(t[i + j + 2]);
            r[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
            r[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        }
    }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 2; j++) {
            t[8 * j + i] = _mm512_shuffle_f32x4(r[8 * j + i], r[8 * j + i + 4], 0x88);
            t[8 * j + i + 4] = _mm512_shuffle_f32x4(r[8 * j + i], r[8 * j + i + 4], 0xdd);
        }
    for (int i = 0; i < 8; i++) {
        r[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
    }
}

INLINE void columns_of(const uint8_t *block, int kind, __m512 *column) {
    /* the 32 columns of a block, a lane for each row */
    __m512i q = _mm512_setzero_si512();
    for (int c = 0; c < GROUP; c++)
        if (kind == B16) {
            __m512i bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(block + 32 * c)));
            column[c] = _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
        } else if (kind == Q4) {
            if (c % 8 == 0) q = _mm512_loadu_si512(block + 8 * c);
            __m512i one = _mm512_and_si512(_mm512_srli_epi32(q, c % 4 * 8 + (c & 4)), _mm512_set1_epi32(15));
            column[c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(one), halves(block + 256), halves(block + 288));
        } else {
            if (c % 4 == 0) q = _mm512_xor_si512(_mm512_loadu_si512(block + 16 * c), _mm512_set1_epi8((char)128));
            __m512i one = _mm512_srai_epi32(_mm512_slli_epi32(q, 24 - c % 4 * 8), 24);
            column[c] = _mm512_mul_ps(_mm512_cvtepi32_ps(one), halves(block + 512));
        }
}

INLINE __m256i to_bfloat16(__m512 x) {
    __m512i bits = _mm512_castps_si512(x), odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16));
}

static void unpack_tile(const Linear *w, int tile, void *out, int wide) {
    /* 16 rows of the weights (n, k) as float32 (wide) or bfloat16 */
    int rows = smaller(TILE, w->n - tile * TILE);
    __m512 column[GROUP];
    for (int g = 0; g < w->k / GROUP; g++) {
        const uint8_t *block = block_of(w, tile, g);
        switch (w->kind) {
        case Q4: columns_of(block, Q4, column); break;
        case Q8: columns_of(block, Q8, column); break;
        default: columns_of(block, B16, column);
        }
        for (int part = 0; part < 2; part++) {
            transpose16(column + 16 * part);
            for (int r = 0; r < rows; r++) {
                size_t at = (size_t)(tile * TILE + r) * w->k + g * GROUP + 16 * part;
                if (wide) _mm512_storeu_ps((float *)out + at, column[16 * part + r]);
                else _mm256_storeu_si256((__m256i *)((uint16_t *)out + at), to_bfloat16(column[16 * part + r]));
            }
        }
    }
}

/* ---- the products ---- */

/* One row: its integers as two bytes each, and whole, where of each four the middle ones have changed places. */
typedef struct { int8_t *high, *low; int16_t *whole; float *scale, *sum; int32_t *sum_q; const float *x; } Activation;

static size_t activation_bytes(int k) { return up_to(k / GROUP * (4 * GROUP + 12), 64); }

static void round_row(const float *x, int k, char *room, Activation *a) {
    int groups = k / GROUP;
    int8_t *bytes = (int8_t *)(room + 2 * k);
    float *rest = (float *)(room + 4 * k);
    *a = (Activation){bytes, bytes + k, (int16_t *)room, rest, rest + groups, (int32_t *)(rest + 2 * groups), x};
    for (int g = 0; g < groups; g++) {
        __m512 u = _mm512_loadu_ps(x + g * GROUP), v = _mm512_loadu_ps(x + g * GROUP + 16);
        float most = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(u), _mm512_abs_ps(v)));
        __m512 inverse = _mm512_set1_ps(most > 0 ? 32512 / most : 0);
        __m512i q[2] = {_mm512_cvtps_epi32(_mm512_mul_ps(u, inverse)), _mm512_cvtps_epi32(_mm512_mul_ps(v, inverse))};
        for (int i = 0; i < 2; i++) {
            __m512i high = _mm512_srai_epi32(_mm512_add_epi32(q[i], _mm512_set1_epi32(128)), 8);
            _mm_storeu_si128((__m128i *)(a->high + g * GROUP + 16 * i), _mm512_cvtepi32_epi8(high));
            _mm_storeu_si128((__m128i *)(a->low + g * GROUP + 16 * i), _mm512_cvtepi32_epi8(q[i]));
            __m256i whole = _mm512_cvtepi32_epi16(q[i]);
            whole = _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(whole, 0xd8), 0xd8); /* 0 2 1 3 */
            _mm256_storeu_si256((__m256i *)(a->whole + g * GROUP + 16 * i), whole);
        }
        a->sum_q[g] = _mm512_reduce_add_epi32(_mm512_add_epi32(q[0], q[1]));
        a->scale[g] = most / 32512;
        a->sum[g] = a->scale[g] * a->sum_q[g];
    }
}

INLINE __m512i word(const int8_t *bytes, int at) { /* four activations, for every lane */
    int32_t four;
    memcpy(&four, bytes + at, 4);
    return _mm512_set1_epi32(four);
}

INLINE __m512i pair(const int16_t *whole, int at) { /* two activations, for every lane */
    int32_t two;
    memcpy(&two, whole + at, 4);
    return _mm512_set1_epi32(two);
}

/* For one or two rows weights stay bytes, and x's bytes are multiplied one by one; for more it pays to widen the weights to
 * 16 bits. Both give the same integers. */

INLINE void tile_q4(const Linear *w, int tile, const Activation *a, float *y, size_t stride, const int count) {
    __m512 out[2], minima[2];
    const __m512i low = _mm512_set1_epi8(15), high = _mm512_set1_epi8((char)0xf0);
    for (int i = 0; i < count; i++) out[i] = minima[i] = _mm512_setzero_ps();
    const uint8_t *block = block_of(w, tile, 0);
    for (int g = 0; g < w->k / GROUP; g++, block += block_bytes(Q4)) {
        __m512i lh[2], ll[2], hh[2], hl[2]; /* nibble, byte of x; high nibbles count 16 times */
        for (int i = 0; i < count; i++) lh[i] = ll[i] = hh[i] = hl[i] = _mm512_setzero_si512();
        for (int v = 0; v < 4; v++) {
            __m512i b = _mm512_loadu_si512(block + 64 * v), n = _mm512_and_si512(b, low), o = _mm512_and_si512(b, high);
            int at = g * GROUP + 8 * v;
            for (int i = 0; i < count; i++) {
                lh[i] = _mm512_dpbusd_epi32(lh[i], n, word(a[i].high, at));
                ll[i] = _mm512_dpbusd_epi32(ll[i], n, word(a[i].low, at));
                hh[i] = _mm512_dpbusd_epi32(hh[i], o, word(a[i].high, at + 4));
                hl[i] = _mm512_dpbusd_epi32(hl[i], o, word(a[i].low, at + 4));
            }
        }
        __m512 d = halves(block + 256), m = halves(block + 288);
        for (int i = 0; i < count; i++) {
            __m512i of_high = _mm512_add_epi32(_mm512_slli_epi32(lh[i], 8), _mm512_slli_epi32(hh[i], 4));
            __m512i sum = _mm512_add_epi32(_mm512_add_epi32(ll[i], _mm512_srai_epi32(hl[i], 4)), of_high);
            __m512 scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(a[i].scale[g]));
            out[i] = _mm512_fmadd_ps(scaled, d, out[i]);
            minima[i] = _mm512_fmadd_ps(m, _mm512_set1_ps(a[i].sum[g]), minima[i]);
        }
    }
    for (int i = 0; i < count; i++) _mm512_storeu_ps(y + i * stride, _mm512_add_ps(out[i], minima[i]));
}

INLINE void tile_q8(const Linear *w, int tile, const Activation *a, float *y, size_t stride, const int count) {
    __m512 out[2];
    for (int i = 0; i < count; i++) out[i] = _mm512_setzero_ps();
    const uint8_t *block = block_of(w, tile, 0);
    for (int g = 0; g < w->k / GROUP; g++, block += block_bytes(Q8)) {
        __m512i h[2][2], l[2][2]; /* two chains each: one would wait for itself */
        for (int i = 0; i < count; i++) {
            h[i][0] = h[i][1] = l[i][0] = _mm512_setzero_si512();
            l[i][1] = _mm512_set1_epi32(-128 * a[i].sum_q[g]);
        }
        for (int v = 0; v < 8; v++) {
            __m512i b = _mm512_loadu_si512(block + 64 * v);
            for (int i = 0; i < count; i++) {
                h[i][v & 1] = _mm512_dpbusd_epi32(h[i][v & 1], b, word(a[i].high, g * GROUP + 4 * v));
                l[i][v & 1] = _mm512_dpbusd_epi32(l[i][v & 1], b, word(a[i].low, g * GROUP + 4 * v));
            }
        }
        __m512 d = halves(block + 512);
        for (int i = 0; i < count; i++) {
            __m512i of_high = _mm512_slli_epi32(_mm512_add_epi32(h[i][0], h[i][1]), 8);
            __m512i sum = _mm512_add_epi32(of_high, _mm512_add_epi32(l[i][0], l[i][1]));
            __m512 scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(a[i].scale[g]));
            out[i] = _mm512_fmadd_ps(scaled, d, out[i]);
        }
    }
    for (int i = 0; i < count; i++) _mm512_storeu_ps(y + i * stride, out[i]);
}

INLINE void tile_q4_widened(const Linear *w, int tile, const Activation *a, float *y, size_t stride, const int count) {
    __m512 out[8], minima[8];
    const __m512i low = _mm512_set1_epi16(15);
    for (int i = 0; i < count; i++) out[i] = minima[i] = _mm512_setzero_ps();
    const uint8_t *block = block_of(w, tile, 0);
    for (int g = 0; g < w->k / GROUP; g++, block += block_bytes(Q4)) {
        __m512i sum[8];
        for (int i = 0; i < count; i++) sum[i] = _mm512_setzero_si512();
        for (int v = 0; v < 4; v++) {
            __m512i b = _mm512_loadu_si512(block + 64 * v), part[4]; /* columns 0 2, 1 3, 4 6, 5 7 */
            part[0] = _mm512_and_si512(b, low);
            part[1] = _mm512_and_si512(_mm512_srli_epi16(b, 8), low);
            part[2] = _mm512_and_si512(_mm512_srli_epi16(b, 4), low);
            part[3] = _mm512_srli_epi16(b, 12);
            for (int i = 0; i < count; i++)
                for (int p = 0; p < 4; p++)
                    sum[i] = _mm512_dpwssd_epi32(sum[i], part[p], pair(a[i].whole, g * GROUP + 8 * v + 2 * p));
        }
        __m512 d = halves(block + 256), m = halves(block + 288);
        for (int i = 0; i < count; i++) {
            __m512 scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[i]), _mm512_set1_ps(a[i].scale[g]));
            out[i] = _mm512_fmadd_ps(scaled, d, out[i]);
            minima[i] = _mm512_fmadd_ps(m, _mm512_set1_ps(a[i].sum[g]), minima[i]);
        }
    }
    for (int i = 0; i < count; i++) _mm512_storeu_ps(y + i * stride, _mm512_add_ps(out[i], minima[i]));
}

INLINE void tile_q8_widened(const Linear *w, int tile, const Activation *a, float *y, size_t stride, const int count) {
    __m512 out[8];
    const __m512i low = _mm512_set1_epi16(255);
    for (int i = 0; i < count; i++) out[i] = _mm512_setzero_ps();
    const uint8_t *block = block_of(w, tile, 0);
    for (int g = 0; g < w->k / GROUP; g++, block += block_bytes(Q8)) {
        __m512i sum[8];
        for (int i = 0; i < count; i++) sum[i] = _mm512_set1_epi32(-128 * a[i].sum_q[g]);
        for (int v = 0; v < 8; v++) {
            __m512i b = _mm512_loadu_si512(block + 64 * v), part[2]; /* columns 0 2, 1 3 */
            part[0] = _mm512_and_si512(b, low);
            part[1] = _mm512_srli_epi16(b, 8);
            for (int i = 0; i < count; i++)
                for (int p = 0; p < 2; p++)
                    sum[i] = _mm512_dpwssd_epi32(sum[i], part[p], pair(a[i].whole, g * GROUP + 4 * v + 2 * p));
        }
        __m512 d = halves(block + 512);
        for (int i = 0; i < count; i++) {
            __m512 scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[i]), _mm512_set1_ps(a[i].scale[g]));
            out[i] = _mm512_fmadd_ps(scaled, d, out[i]);
        }
    }
    for (int i = 0; i < count; i++) _mm512_storeu_ps(y + i * stride, out[i]);
}

INLINE void tile_b16(const Linear *w, int tile, const Activation *a, float *y, size_t stride, const int count) {
    __m512 out[4][2];
    for (int i = 0; i < count; i++) out[i][0] = out[i][1] = _mm512_setzero_ps();
    const uint8_t *weights = block_of(w, tile, 0);
    for (int c = 0; c < w->k; c++) {
        __m512i bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(weights + 32 * (size_t)c)));
        __m512 column = _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
        for (int i = 0; i < count; i++)
            out[i][c & 1] = _mm512_fmadd_ps(column, _mm512_set1_ps(a[i].x[c]), out[i][c & 1]);
    }
    for (int i = 0; i < count; i++) _mm512_storeu_ps(y + i * stride, _mm512_add_ps(out[i][0], out[i][1]));
}

INLINE void tile_rows(const Linear *w, int tile, const Activation *a, float *y, size_t stride, const int count) {
    if (w->kind == Q4) (count > 2 ? tile_q4_widened : tile_q4)(w, tile, a, y, stride, count);
    else if (w->kind == Q8) (count > 2 ? tile_q8_widened : tile_q8)(w, tile, a, y, stride, count);
    else tile_b16(w, tile, a, y, stride, count);
}

INLINE float dot(const float *a, const float *b, int n) {
    __m512 sum = _mm512_setzero_ps();
    for (int i = 0; i < n; i += 16) sum = _mm512_fmadd_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i), sum);
    return _mm512_reduce_add_ps(sum);
}

static void adapt(const Linear *w, const Activation *a, int count, int from, int to, float *y, size_t stride) {
    /* the adapter's part in rows from..to of y, which are this thread's own */
    for (int p = 0; p < w->low_ranks; p++) {
        const LowRank *part = w->low_rank + p;
        int first = larger(from, part->first), last = smaller(to, part->first + part->rows);
        float inner[part->rank + 1]; /* gains alone have a rank of 0 */
        for (int i = 0; i < count && first < last; i++) {
            for (int j = 0; j < part->rank; j++) inner[j] = dot(part->a + (size_t)j * w->k, a[i].x, w->k);
            for (int row = first; row < last; row++) {
                const float *b = part->b + (size_t)(row - part->first) * part->rank;
                float sum = y[i * stride + row];
                for (int j = 0; j < part->rank; j++) sum += b[j] * inner[j];
                y[i * stride + row] = part->gain ? part->gain[row - part->first] * sum : sum;
            }
        }
    }
}

enum { TOGETHER = 64 }; /* rows whose activations stay in the cache while all the weights pass by */

static void product(const Linear *w, const Activation *a, int count, float *y, size_t stride, int thread, int threads) {
    /* this thread's share of y (count, n); stride has room for a multiple of 16 */
    int tiles = up_to(w->n, TILE) / TILE, from = tiles * thread / threads, to = tiles * (thread + 1) / threads;
    for (int first = 0; first < count; first += TOGETHER) {
        int last = smaller(count, first + TOGETHER);
        for (int tile = from; tile < to; tile++) {
            float *out = y + tile * TILE;
            int i = first;
            for (; i + 8 <= last && w->kind != B16; i += 8) tile_rows(w, tile, a + i, out + i * stride, stride, 8);
            for (; i + 4 <= last; i += 4) tile_rows(w, tile, a + i, out + i * stride, stride, 4);
            if (i + 2 <= last) tile_rows(w, tile, a + i, out + i * stride, stride, 2), i += 2;
            if (i < last) tile_rows(w, tile, a + i, out + i * stride, stride, 1);
        }
    }
    adapt(w, a, count, from * TILE, smaller(to * TILE, w->n), y, stride);
    if (w->bias)
        for (int i = 0; i < count; i++)
            for (int n = from * TILE; n < to * TILE; n++) y[i * stride + n] += w->bias[n];
}

/* ---- what lies between ---- */

static void norm(const float *x, const float *weight, int n, float eps, float *out) {
    float sum = 0;
    for (int i = 0; i < n; i++) sum += x[i] * x[i];
    float scale = 1 / sqrtf(sum / n + eps);
    for (int i = 0; i < n; i++) out[i] = weight[i] * (x[i] * scale);
}

INLINE __m512 exp16(__m512 x) {
    /* of numbers down to -infinity's neighbours; error 2e-7 */
    x = _mm512_max_ps(x, _mm512_set1_ps(-87));
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.442695041f)), 0);
    __m512 f = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.6931471806f), x), p = _mm512_set1_ps(0.0013888889f);
    const float c[] = {0.008333334f, 0.041666668f, 0.16666667f, 0.5f, 1, 1};
    for (int i = 0; i < 6; i++) p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(c[i]));
    return _mm512_scalef_ps(p, n);
}

static float exp1(float x) { return _mm512_cvtss_f32(exp16(_mm512_set1_ps(x))); }

static void gated(const float *gate_up, int hidden, float *out) {
    /* silu(gate) * up; hidden is a multiple of 32 */
    for (int i = 0; i < hidden; i += 16) {
        __m512 gate = _mm512_loadu_ps(gate_up + i), up = _mm512_loadu_ps(gate_up + hidden + i);
        __m512 below = _mm512_add_ps(_mm512_set1_ps(1), exp16(_mm512_min_ps(_mm512_sub_ps(_mm512_setzero_ps(), gate), _mm512_set1_ps(88))));
        _mm512_storeu_ps(out + i, _mm512_mul_ps(_mm512_div_ps(gate, below), up));
    }
}

static void rotate(float *head, const float *rotation, int dim) {
    for (int i = 0; i < dim; i += 2) {
        float a = head[i], b = head[i + 1], c = rotation[i], s = rotation[i + 1];
        head[i] = a * c - b * s;
        head[i + 1] = a * s + b * c;
    }
}

/* ---- attention ---- */

enum { ACROSS = KEYS / TILE };

typedef struct { float most, unused[TILE - 1], totals[TILE], out[]; } Part; /* of one query head, over some of the positions */
typedef struct { int from, to; } Span;                                     /* positions */

static size_t part_floats(int dim) { return 2 * TILE + dim; } /* whole lines of the cache */
static Part *part_at(float *parts, int dim, int index) { return (Part *)(parts + index * part_floats(dim)); }

static void shrink_to(Part *part, int dim, float most) {
    float shrink = part->most == -INFINITY ? 0 : exp1(part->most - most);
    for (int i = 0; i < TILE; i++) part->totals[i] *= shrink;
    for (int i = 0; i < dim; i++) part->out[i] *= shrink;
    part->most = most;
}

enum { AHEAD = 4096 }; /* halves, about to be read: to the second cache, as in the first they displace what is in use (16 -> 12 ms) */

static void widen(const uint16_t *from, int dim, float *out) {
    for (int i = 0; i < KEYS * dim; i += 16) {
        if (i % 32 == 0) _mm_prefetch(from + i + AHEAD, _MM_HINT_T1);
        _mm512_store_ps(out + i, halves(from + i));
    }
}

static void widen_across(const uint16_t *from, int dim, float *out) {
    /* keys (KEYS, dim) -> (KEYS / 16, dim, 16) */
    for (int part = 0; part < KEYS; part += TILE)
        for (int i = 0; i < dim; i += 16) {
            __m512 square[TILE];
            for (int j = 0; j < TILE; j++) {
                const uint16_t *at = from + (part + j) * dim + i;
                if (i % 32 == 0) _mm_prefetch(at + AHEAD, _MM_HINT_T1);
                square[j] = halves(at);
            }
            transpose16(square);
            for (int j = 0; j < TILE; j++) _mm512_store_ps(out + part * dim + (i + j) * TILE, square[j]);
        }
}

/* A query head, and which of the positions at hand it sees: a bit each. */
typedef struct { const float *query; Part *part; uint32_t seen; float weights[KEYS]; } Head;

INLINE void score(Head *heads, const float *keys, int dim, const int count) {
    /* of keys (KEYS / 16, dim, 16) for each query */
    __m512 sum[4][ACROSS];
    for (int n = 0; n < count; n++)
        for (int a = 0; a < ACROSS; a++) sum[n][a] = _mm512_setzero_ps();
    for (int i = 0; i < dim; i++) {
        __m512 key[ACROSS];
        for (int a = 0; a < ACROSS; a++) key[a] = held(keys + (a * dim + i) * TILE);
        for (int n = 0; n < count; n++)
            for (int a = 0; a < ACROSS; a++) sum[n][a] = _mm512_fmadd_ps(_mm512_set1_ps(heads[n].query[i]), key[a], sum[n][a]);
    }
    for (int n = 0; n < count; n++)
        for (int a = 0; a < ACROSS; a++)
            _mm512_storeu_ps(heads[n].weights + a * TILE, _mm512_mul_ps(sum[n][a], _mm512_set1_ps(1 / sqrtf(dim))));
}

static void weigh(Head *head, int dim) {
    /* scores -> weights, 0 for positions not seen */
    Part *part = head->part;
    __m512 scores[ACROSS], most = _mm512_set1_ps(-INFINITY), totals;
    __mmask16 seen[ACROSS];
    for (int a = 0; a < ACROSS; a++) {
        seen[a] = (__mmask16)(head->seen >> (a * TILE));
        scores[a] = _mm512_mask_loadu_ps(_mm512_set1_ps(-INFINITY), seen[a], head->weights + a * TILE);
        most = _mm512_max_ps(most, scores[a]);
    }
    if (_mm512_cmp_ps_mask(most, _mm512_set1_ps(part->most), _CMP_NLE_UQ)) shrink_to(part, dim, _mm512_reduce_max_ps(most));
    totals = _mm512_load_ps(part->totals);
    for (int a = 0; a < ACROSS; a++) {
        __m512 shares = _mm512_maskz_mov_ps(seen[a], exp16(_mm512_sub_ps(scores[a], _mm512_set1_ps(part->most))));
        _mm512_storeu_ps(head->weights + a * TILE, shares);
        totals = _mm512_add_ps(totals, shares);
    }
    _mm512_store_ps(part->totals, totals);
}

INLINE void add_columns(Head *heads, const float *values, int at, int first, int last, int dim, const int count, const int vectors) {
    __m512 sum[4][4]; /* they stay in registers */
    for (int n = 0; n < count; n++)
        for (int i = 0; i < vectors; i++) sum[n][i] = _mm512_load_ps(heads[n].part->out + at + 16 * i);
    for (int j = first; j < last; j++) {
        __m512 value[4];
        for (int i = 0; i < vectors; i++) value[i] = held(values + (size_t)j * dim + at + 16 * i);
        for (int n = 0; n < count; n++)
            for (int i = 0; i < vectors; i++) sum[n][i] = _mm512_fmadd_ps(_mm512_set1_ps(heads[n].weights[j]), value[i], sum[n][i]);
    }
    for (int n = 0; n < count; n++)
        for (int i = 0; i < vectors; i++) _mm512_store_ps(heads[n].part->out + at + 16 * i, sum[n][i]);
}

INLINE void add_values(Head *heads, const float *values, int dim, const int count) {
    /* a weight of 0 for a position that only another of the heads sees adds nothing */
    uint32_t seen = 0;
    for (int n = 0; n < count; n++) seen |= heads[n].seen;
    int first = __builtin_ctz(seen), last = KEYS - __builtin_clz(seen), i = 0;
    for (; i + 64 <= dim; i += 64) add_columns(heads, values, i, first, last, dim, count, 4);
    if (i + 32 <= dim) add_columns(heads, values, i, first, last, dim, count, 2), i += 32;
    if (i < dim) add_columns(heads, values, i, first, last, dim, count, 1);
}

INLINE void attend_heads(Head *heads, const float *keys, const float *values, int dim, const int count) {
    score(heads, keys, dim, count);
    for (int n = 0; n < count; n++) weigh(heads + n, dim);
    add_values(heads, values, dim, count);
}

static void attend_keys(Head *heads, int count, const uint16_t *keys, const uint16_t *values, int dim) {
    _Alignas(64) float k[KEYS * MOST_DIM], v[KEYS * MOST_DIM];
    widen_across(keys, dim, k);
    widen(values, dim, v);
    int n = 0;
    for (; n + 4 <= count; n += 4) attend_heads(heads + n, k, v, dim, 4);
    switch (count - n) {
    case 3: attend_heads(heads + n, k, v, dim, 3); break;
    case 2: attend_heads(heads + n, k, v, dim, 2); break;
    case 1: attend_heads(heads + n, k, v, dim, 1);
    }
}

static uint32_t seen_of(const Row *row, Span span, int t) {
    /* of the KEYS positions from t on */
    int first = larger(0, span.from - t), last = smaller(KEYS, span.to - t);
    if (first >= last) return 0;
    uint32_t seen = (uint32_t)((1ull << last) - (1ull << first));
    int64_t word = t / KEYS - row->tree / KEYS;
    return row->seen && word >= 0 ? seen & row->seen[word] : seen;
}

static void attend(const uint16_t *keys, const uint16_t *values, int dim, int group, const float *const *queries,
                   const Row *rows, const Span *spans, Part *const *parts, Head *heads, int count) {
    /* `group` query heads (group, dim) of each of `count` rows over its span of one key head (T, dim). KEYS positions at
     * a time, widened once for all rows; where they begin doesn't depend on the rows. */
    int begin = spans[0].from, end = 0;
    for (int r = 0; r < count; r++) begin = smaller(begin, spans[r].from), end = larger(end, spans[r].to);
    for (int t = begin / KEYS * KEYS; t < end; t += KEYS) {
        int seeing = 0;
        for (int r = 0; r < count; r++) {
            uint32_t seen = seen_of(rows + r, spans[r], t);
            for (int h = 0; h < group && seen; h++)
                heads[seeing].query = queries[r] + h * dim, heads[seeing].part = parts[r * group + h], heads[seeing++].seen = seen;
        }
        attend_keys(heads, seeing, keys + (size_t)t * dim, values + (size_t)t * dim, dim);
    }
}

static void join(const Model *m, float *parts, int rows, int row, int threads, float *out) {
    /* what the threads found for a row -> out (H, D) */
    int dim = m->head_dim;
    for (int h = 0; h < m->heads; h++, out += dim) {
        float most = -INFINITY, total = 0;
        for (int t = 0; t < threads; t++) most = fmaxf(most, part_at(parts, dim, (t * rows + row) * m->heads + h)->most);
        memset(out, 0, sizeof(float) * dim);
        for (int t = 0; t < threads; t++) {
            const Part *part = part_at(parts, dim, (t * rows + row) * m->heads + h);
            if (part->most == -INFINITY) continue;
            float share = exp1(part->most - most);
            total += share * _mm512_reduce_add_ps(_mm512_loadu_ps(part->totals));
            for (int i = 0; i < dim; i++) out[i] += share * part->out[i];
        }
        for (int i = 0; i < dim; i++) out[i] /= total;
    }
}

/* ---- threads ---- */

enum { SPINS = 1000 }; /* about 60 us */
static atomic_int arrived, phase, asleep;

static void meet(int threads) {
    /* wait until all are here */
    int now = atomic_load(&phase);
    if (atomic_fetch_add(&arrived, 1) == threads - 1) {
        atomic_store(&arrived, 0);
        atomic_fetch_add(&phase, 1);
        if (atomic_load(&asleep)) syscall(SYS_futex, &phase, FUTEX_WAKE_PRIVATE, MOST_THREADS, NULL, NULL, 0);
        return;
    }
    for (int spins = 0; atomic_load_explicit(&phase, memory_order_acquire) == now; spins++) {
        if (spins < SPINS) {
            _mm_pause();
            continue;
        }
        /* another thread isn't running: give it the core, and don't use up our share of it */
        atomic_fetch_add(&asleep, 1);
        syscall(SYS_futex, &phase, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0);
        atomic_fetch_sub(&asleep, 1);
    }
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER, one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t begun = PTHREAD_COND_INITIALIZER;
static int started, generation, job_threads;
static void (*job)(void *, int, int);
static void *job_data;
static atomic_int left;

static void *work(void *number) {
    int thread = (int)(intptr_t)number;
    pthread_mutex_lock(&lock);
    for (int seen = generation - 1;;) {
        while (generation == seen) pthread_cond_wait(&begun, &lock);
        seen = generation;
        int threads = job_threads;
        pthread_mutex_unlock(&lock);
        if (thread < threads) {
            job(job_data, thread, threads);
            atomic_fetch_sub(&left, 1);
        }
        pthread_mutex_lock(&lock);
    }
    return NULL;
}

static void all(void (*task)(void *, int, int), void *data, int threads) {
    /* task(data, thread, threads) by each thread, this one among them; returns when all are done */
    pthread_mutex_lock(&one_at_a_time);
    threads = smaller(threads, MOST_THREADS);
    pthread_mutex_lock(&lock);
    for (; started < threads - 1; started++) {
        pthread_t id;
        if (pthread_create(&id, NULL, work, (void *)(intptr_t)(started + 1))) break;
        pthread_detach(id);
    }
    threads = smaller(threads, started + 1);
    job = task, job_data = data, job_threads = threads, generation++;
    atomic_store(&left, threads - 1);
    pthread_cond_broadcast(&begun);
    pthread_mutex_unlock(&lock);
    task(data, 0, threads);
    while (atomic_load(&left)) sched_yield();
    pthread_mutex_unlock(&one_at_a_time);
}

static void forget_threads(void) {
    /* a process that was forked has only the thread that forked, and perhaps locks of others */
    started = 0;
    atomic_store(&left, 0), atomic_store(&arrived, 0), atomic_store(&asleep, 0);
    pthread_mutex_init(&lock, NULL), pthread_mutex_init(&one_at_a_time, NULL), pthread_cond_init(&begun, NULL);
}

__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(NULL, NULL, forget_threads); }

/* ---- one token for each row ---- */

typedef struct {
    const Model *m;
    const Row *rows;
    int count;
    float *qkv, *hidden, *added, *parts, *logits; /* shared; a row of each is a multiple of 16 */
} Step;

typedef struct { float *x, *y, *q; char *room; Head *heads; Activation a[MOST_ROWS]; } Own; /* a thread's own; one row after the other */

static int widest(const Model *m) { return larger(larger(m->hidden, m->width), m->heads * m->head_dim); }
static int qkv_width(const Model *m) { return up_to((m->heads + 2 * m->kv_heads) * m->head_dim, TILE); }

static void round_rows(Own *own, const Step *s, int count, int stride, int k) {
    for (int r = 0; r < count; r++)
        round_row(own->y + (size_t)r * stride, k, own->room + r * activation_bytes(widest(s->m)), own->a + r);
}

static void normed_rows(Own *own, const Step *s, const float *weight) {
    int width = s->m->width;
    for (int r = 0; r < s->count; r++) norm(own->x + (size_t)r * width, weight, width, s->m->eps, own->y + (size_t)r * width);
    round_rows(own, s, s->count, width, width);
}

static void add_rows(Own *own, const Step *s) {
    int width = s->m->width, stride = up_to(width, TILE);
    for (int r = 0; r < s->count; r++)
        for (int i = 0; i < width; i++) own->x[(size_t)r * width + i] += s->added[(size_t)r * stride + i];
}

static void turned(const Model *m, const Layer *w, const float *rotation, int head, const float *from, float *out) {
    /* a query or key head, normed and rotated */
    if (w->qk_norm) norm(from, w->qk_norm + head * m->head_dim, m->head_dim, m->eps, out);
    else memcpy(out, from, sizeof(float) * m->head_dim);
    if (w->rotated) rotate(out, rotation, m->head_dim);
}

static void write_row(const Model *m, const Layer *w, const Row *row, uint16_t *keys, const float *qkv) {
    int dim = m->head_dim;
    float key[MOST_DIM];
    for (int h = 0; h < m->kv_heads; h++) {
        turned(m, w, row->rotation, m->heads + h, qkv + (m->heads + h) * dim, key);
        uint16_t *at = keys + (h * row->capacity + row->position) * dim;
        const float *both[2] = {key, qkv + (m->heads + m->kv_heads + h) * dim};
        for (int which = 0; which < 2; which++, at += m->kv_heads * row->capacity * dim)
            for (int i = 0; i < dim; i += 16)
                _mm256_storeu_si256((__m256i *)(at + i), _mm512_cvtps_ph(_mm512_loadu_ps(both[which] + i), 0));
    }
}

static Span span_of(const Layer *w, int position, int thread, int threads) {
    /* a thread's share of the positions that a row sees, KEYS at a time */
    int begin = w->window && position + 1 > w->window ? position + 1 - w->window : 0;
    int tile = begin / KEYS, tiles = position / KEYS + 1 - tile;
    return (Span){larger(begin, KEYS * (tile + tiles * thread / threads)),
                  smaller(position + 1, KEYS * (tile + tiles * (thread + 1) / threads))};
}

static void attention(const Step *s, const Layer *w, int layer, Own *own, int thread, int threads) {
    /* keys and values join the caches; what this thread finds for each row goes to `parts` */
    const Model *m = s->m;
    int dim = m->head_dim, group = m->heads / m->kv_heads, wide = qkv_width(m);
    uint16_t *keys[MOST_ROWS];
    for (int r = 0; r < s->count; r++) {
        keys[r] = s->rows[r].kv + (size_t)layer * 2 * m->kv_heads * s->rows[r].capacity * dim;
        if (thread == threads - 1) write_row(m, w, s->rows + r, keys[r], s->qkv + (size_t)r * wide); /* whose span has it */
        for (int h = 0; h < m->heads; h++) {
            turned(m, w, s->rows[r].rotation, h, s->qkv + (size_t)r * wide + h * dim, own->q + (r * m->heads + h) * dim);
            Part *part = part_at(s->parts, dim, (thread * s->count + r) * m->heads + h);
            part->most = -INFINITY;
            memset(part->totals, 0, sizeof(float) * (TILE + dim));
        }
    }
    if (s->count > 1) meet(threads); /* a row may see what another thread wrote for the row before it */
    for (int first = 0, end; first < s->count; first = end) {
        for (end = first + 1; end < s->count && s->rows[end].kv == s->rows[first].kv; end++) {}
        int64_t capacity = s->rows[first].capacity;
        Span spans[MOST_ROWS];
        for (int r = first; r < end; r++) spans[r - first] = span_of(w, (int)s->rows[r].position, thread, threads);
        for (int h = 0; h < m->kv_heads; h++) {
            const float *queries[MOST_ROWS];
            Part *parts[MOST_ROWS * MOST_SHARING];
            for (int r = first; r < end; r++) {
                queries[r - first] = own->q + (r * m->heads + h * group) * dim;
                for (int g = 0; g < group; g++)
                    parts[(r - first) * group + g] = part_at(s->parts, dim, (thread * s->count + r) * m->heads + h * group + g);
            }
            const uint16_t *head = keys[first] + h * capacity * dim;
            attend(head, head + m->kv_heads * capacity * dim, dim, group, queries, s->rows + first, spans, parts, own->heads, end - first);
        }
    }
}

static void run_step(void *data, int thread, int threads) {
    Step *s = data;
    const Model *m = s->m;
    int dim = m->head_dim, heads = m->heads, wide = widest(m), count = s->count;
    int hidden_stride = up_to(2 * m->hidden, TILE), added_stride = up_to(m->width, TILE);
    /* each thread does the small things for itself: cheaper than to wait for another */
    Own own = {.x = allocated(sizeof(float) * count * m->width), .y = allocated(sizeof(float) * count * wide),
               .q = allocated(sizeof(float) * count * heads * dim), .room = allocated(count * activation_bytes(wide)),
               .heads = allocated(sizeof(Head) * count * heads / m->kv_heads)};
    for (int r = 0; r < count; r++) memcpy(own.x + (size_t)r * m->width, s->rows[r].x, sizeof(float) * m->width);
    for (int l = 0; l < m->count; l++) {
        const Layer *w = m->layers + l;
        normed_rows(&own, s, w->attention_norm);
        product(&w->qkv, own.a, count, s->qkv, qkv_width(m), thread, threads);
        meet(threads);
        attention(s, w, l, &own, thread, threads);
        meet(threads);
        for (int r = 0; r < count; r++) join(m, s->parts, count, r, threads, own.y + (size_t)r * heads * dim);
        round_rows(&own, s, count, heads * dim, heads * dim);
        product(&w->out, own.a, count, s->added, added_stride, thread, threads);
        meet(threads);
        add_rows(&own, s);
        normed_rows(&own, s, w->hidden_norm);
        product(&w->gate_up, own.a, count, s->hidden, hidden_stride, thread, threads);
        meet(threads);
        for (int r = 0; r < count; r++) gated(s->hidden + (size_t)r * hidden_stride, m->hidden, own.y + (size_t)r * m->hidden);
        round_rows(&own, s, count, m->hidden, m->hidden);
        product(&w->down, own.a, count, s->added, added_stride, thread, threads);
        meet(threads);
        add_rows(&own, s);
    }
    int wanted = 0;
    for (int r = 0; r < count; r++)
        if (s->rows[r].wanted) norm(own.x + (size_t)r * m->width, m->norm, m->width, m->eps, own.y + (size_t)wanted++ * m->width);
    round_rows(&own, s, wanted, m->width, m->width);
    product(&m->head, own.a, wanted, s->logits, up_to(m->head.n, TILE), thread, threads);
    free(own.x), free(own.y), free(own.q), free(own.room), free(own.heads);
}

void step(const Model *m, const Row *rows, int count, float *logits, int threads) {
    /* logits (wanted, n up to a multiple of 16) after each row's token, whose keys and values join its cache. Rows of
     * one cache stand beside one another, at successive positions. */
    Step s = {.m = m, .rows = rows, .count = count, .logits = logits};
    s.qkv = allocated(sizeof(float) * count * qkv_width(m));
    s.hidden = allocated(sizeof(float) * count * up_to(2 * m->hidden, TILE));
    s.added = allocated(sizeof(float) * count * up_to(m->width, TILE));
    s.parts = aligned(sizeof(float) * part_floats(m->head_dim) * m->heads * count * threads);
    all(run_step, &s, threads);
    free(s.qkv), free(s.hidden), free(s.added), free(s.parts);
}

/* ---- one product, for prompts ---- */

typedef struct { const Linear *w; const float *x; float *y; char *room; Activation *a; int count; } Times;

static void run_times(void *data, int thread, int threads) {
    Times *t = data;
    int k = t->w->k;
    for (int i = t->count * thread / threads; i < t->count * (thread + 1) / threads; i++)
        round_row(t->x + (size_t)i * k, k, t->room + i * activation_bytes(k), t->a + i);
    meet(threads);
    product(t->w, t->a, t->count, t->y, up_to(t->w->n, TILE), thread, threads);
}

void times(const Linear *w, const float *x, int count, float *y, int threads) {
    /* y (count, n up to a multiple of 16) = x (count, k) W^T + bias */
    Times t = {w, x, y, allocated(count * activation_bytes(w->k)), allocated(count * sizeof(Activation)), count};
    all(run_times, &t, threads);
    free(t.room), free(t.a);
}

typedef struct { const Linear *w; void *out; int wide; } Unpack;

static void run_unpack(void *data, int thread, int threads) {
    Unpack *u = data;
    int tiles = up_to(u->w->n, TILE) / TILE;
    for (int tile = tiles * thread / threads; tile < tiles * (thread + 1) / threads; tile++)
        unpack_tile(u->w, tile, u->out, u->wide);
}

void unpack(const Linear *w, void *out, int wide, int threads) {
    /* the weights (n, k) as float32 (wide) or bfloat16 */
    Unpack u = {w, out, wide};
    all(run_unpack, &u, threads);
}

/* ---- for the benchmark ---- */

static void run_products(void *data, int thread, int threads) {
    Step *s = data;
    const Model *m = s->m;
    char *room = allocated(activation_bytes(widest(m)));
    Activation a;
    round_row(s->rows->x, widest(m), room, &a);
    for (int l = 0; l < m->count; l++) {
        const Linear *each[] = {&m->layers[l].qkv, &m->layers[l].out, &m->layers[l].gate_up, &m->layers[l].down};
        for (int i = 0; i < 4; i++) product(each[i], &a, 1, s->hidden, 0, thread, threads);
    }
    product(&m->head, &a, 1, s->logits, 0, thread, threads);
    free(room);
}

void products(const Model *m, const float *x, float *logits, int threads) {
    /* all the products of a token and nothing else, not even waiting. x (the widest input of any of them) */
    Row row = {.x = x};
    Step s = {.m = m, .rows = &row, .count = 1, .logits = logits};
    s.hidden = allocated(sizeof(float) * up_to(larger(2 * m->hidden, larger(qkv_width(m), m->width)), TILE));
    all(run_products, &s, threads);
    free(s.hidden);
}
