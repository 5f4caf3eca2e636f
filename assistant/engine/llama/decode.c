/* One token through a Llama-family model whose weights are blocks of 4 or 8 bits.
 *
 * Plain C11, no library. Built once by the machine's own compiler and kept (native.py).
 *
 * Weights: 16 rows lie interleaved, so that a vector lane is a row and no sum over lanes is needed. A block is 32
 * columns of 16 rows, then its float16 scales, the very ones of the GGUF file:
 *   Q4: 256 bytes of nibbles, 16 scales d, 16 minima m; weight = d * q + m.
 *       Byte 64 v + 4 r + b: row r, column 8 v + b in the low nibble and 8 v + 4 + b in the high one.
 *   Q8: 512 bytes q + 128, 16 scales d; weight = d * q.  Byte 64 v + 4 r + b: row r, column 4 v + b.
 * Activations: 16-bit integers as 256 * high + low, both signed bytes, with one float scale for each 32 (an error of
 * 2^-16 of the largest), so a product is exact in 32-bit integers but for that; d and m enter in float32.
 */
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(__AVX512BW__) && defined(__AVX512VNNI__)
#define FAST
#include <immintrin.h>
#endif

enum { Q4 = 4, Q8 = 8, ROWS = 16, GROUP = 32, Q4_BYTES = 320, Q8_BYTES = 544, MOST_HEADS = 16, TILE = 16, MOST_THREADS = 64 };

typedef struct { const uint8_t *blocks; const float *bias; int32_t kind, n, k, unused; } Linear;
typedef struct {
    const float *attention_norm, *hidden_norm, *qk_norm; /* qk_norm (H + H_kv, D) or NULL */
    Linear qkv, out, gate_up, down;
    int32_t rotated, window;
} Layer;
typedef struct {
    const Layer *layers; const float *norm; Linear head;
    int32_t count, width, hidden, heads, kv_heads, head_dim, half_cache; float eps;
} Model;

static inline float half(uint16_t bits) { _Float16 h; memcpy(&h, &bits, 2); return (float)h; }
static inline uint16_t to_half(float x) { _Float16 h = (_Float16)x; uint16_t bits; memcpy(&bits, &h, 2); return bits; }
static inline int block_bytes(int kind) { return kind == Q4 ? Q4_BYTES : Q8_BYTES; }
static inline int smaller(int a, int b) { return a < b ? a : b; }

/* ---- packing: ggml blocks in rows -> interleaved blocks ---- */

void pack(const uint8_t *rows, int kind, int ggml_min, int n, int k, uint8_t *out) {
    /* rows: n rows of k/32 ggml blocks, Q4_1 (ggml_min 1), Q4_0 (0) or Q8_0. Rows up to a multiple of 16 are zero. */
    int groups = k / GROUP, bytes = kind == Q8 ? 34 : ggml_min ? 20 : 18;
    memset(out, 0, (size_t)((n + ROWS - 1) / ROWS) * groups * block_bytes(kind));
    for (int row = 0; row < n; row++)
        for (int g = 0; g < groups; g++) {
            const uint8_t *in = rows + ((size_t)row * groups + g) * bytes;
            uint8_t *block = out + ((size_t)(row / ROWS) * groups + g) * block_bytes(kind);
            int r = row % ROWS;
            if (kind == Q8) {
                memcpy(block + 512 + 2 * r, in, 2);
                for (int c = 0; c < GROUP; c++) block[c / 4 * 64 + 4 * r + c % 4] = in[2 + c] ^ 128;
                continue;
            }
            uint16_t d, m;
            memcpy(&d, in, 2);
            if (ggml_min) memcpy(&m, in + 2, 2); else m = to_half(-8 * half(d)); /* exact: a power of two */
            memcpy(block + 256 + 2 * r, &d, 2);
            memcpy(block + 288 + 2 * r, &m, 2);
            const uint8_t *q = in + (ggml_min ? 4 : 2);
            for (int c = 0; c < GROUP; c++) {
                uint8_t nibble = c < 16 ? q[c] & 15 : q[c - 16] >> 4;
                block[c / 8 * 64 + 4 * r + c % 4] |= c & 4 ? nibble << 4 : nibble;
            }
        }
}

static inline int weight_of(const uint8_t *block, int kind, int r, int c) {
    if (kind == Q8) return block[c / 4 * 64 + 4 * r + c % 4] - 128;
    uint8_t pair = block[c / 8 * 64 + 4 * r + c % 4];
    return c & 4 ? pair >> 4 : pair & 15;
}

static void unpack_row(const Linear *w, int row, float *out) {
    int groups = w->k / GROUP, r = row % ROWS;
    for (int g = 0; g < groups; g++) {
        const uint8_t *block = w->blocks + ((size_t)(row / ROWS) * groups + g) * block_bytes(w->kind);
        uint16_t d, m = 0;
        memcpy(&d, block + (w->kind == Q4 ? 256 : 512) + 2 * r, 2);
        if (w->kind == Q4) memcpy(&m, block + 288 + 2 * r, 2);
        for (int c = 0; c < GROUP; c++) {
            out[g * GROUP + c] = half(d) * weight_of(block, w->kind, r, c) + half(m);
        }
    }
}

void embed(const Linear *w, const int64_t *ids, int count, float *out) {
    for (int i = 0; i < count; i++) unpack_row(w, (int)ids[i], out + (size_t)i * w->k);
}

#ifdef FAST
#define HALVES(p) _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(p)))

static inline void transpose16(__m512 *r) {
    __m512 t[16];
    for (int i = 0; i < 16; i += 2) { t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]); t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]); }
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(t[i]), _mm512_castps_pd(t[i + 2])));
        r[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(t[i]), _mm512_castps_pd(t[i + 2])));
        r[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(t[i + 1]), _mm512_castps_pd(t[i + 3])));
        r[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(t[i + 1]), _mm512_castps_pd(t[i + 3])));
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88); t[i + 4] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88); t[i + 12] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
    }
    for (int i = 0; i < 8; i++) { r[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88); r[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd); }
}
#endif

/* ---- the products ---- */

typedef struct { int8_t *high, *low; float *scale, *sum; int32_t *sum_q; } Activation; /* (k,) twice, (k/32,) thrice */

static Activation new_activation(int k) {
    int groups = k / GROUP;
    float *room = aligned_alloc(64, ((size_t)groups * (2 * GROUP + 12) + 64) / 64 * 64 + 64);
    int8_t *bytes = (int8_t *)room;
    float *rest = (float *)(bytes + 2 * groups * GROUP);
    return (Activation){bytes, bytes + groups * GROUP, rest, rest + groups, (int32_t *)(rest + 2 * groups)};
}

static void round_activation(const float *x, int k, Activation a) {
    for (int g = 0; g < k / GROUP; g++) {
        const float *in = x + g * GROUP;
        int32_t sum;
        float most = 0;
#ifdef FAST
        __m512 u = _mm512_loadu_ps(in), v = _mm512_loadu_ps(in + 16);
        most = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(u), _mm512_abs_ps(v)));
        __m512 inverse = _mm512_set1_ps(most > 0 ? 32512 / most : 0);
        __m512i q[2] = {_mm512_cvtps_epi32(_mm512_mul_ps(u, inverse)), _mm512_cvtps_epi32(_mm512_mul_ps(v, inverse))};
        sum = _mm512_reduce_add_epi32(_mm512_add_epi32(q[0], q[1]));
        for (int i = 0; i < 2; i++) {
            __m512i high = _mm512_srai_epi32(_mm512_add_epi32(q[i], _mm512_set1_epi32(128)), 8);
            _mm_storeu_si128((__m128i *)(a.high + g * GROUP + 16 * i), _mm512_cvtepi32_epi8(high));
            _mm_storeu_si128((__m128i *)(a.low + g * GROUP + 16 * i), _mm512_cvtepi32_epi8(q[i]));
        }
#else
        for (int c = 0; c < GROUP; c++) { float size = fabsf(in[c]); most = size > most ? size : most; }
        float inverse = most > 0 ? 32512 / most : 0;
        sum = 0;
        for (int c = 0; c < GROUP; c++) {
            int32_t q = (int32_t)rintf(in[c] * inverse);
            a.high[g * GROUP + c] = (int8_t)((q + 128) >> 8);
            a.low[g * GROUP + c] = (int8_t)q;
            sum += q;
        }
#endif
        a.scale[g] = most / 32512;
        a.sum[g] = a.scale[g] * sum;
        a.sum_q[g] = sum;
    }
}

static void rows_times(const Linear *w, int tile, Activation a, float *y) {
    /* y[16] of the rows tile * 16 .. */
    int groups = w->k / GROUP;
    const uint8_t *block = w->blocks + (size_t)tile * groups * block_bytes(w->kind);
#ifdef FAST
    __m512 out = w->bias ? _mm512_loadu_ps(w->bias + tile * ROWS) : _mm512_setzero_ps(), minima = _mm512_setzero_ps();
    const __m512i zero = _mm512_setzero_si512(), low = _mm512_set1_epi8(15), high = _mm512_set1_epi8((char)0xf0);
    if (w->kind == Q4)
        for (int g = 0; g < groups; g++, block += Q4_BYTES) {
            const int32_t *xh = (const int32_t *)(a.high + g * GROUP), *xl = (const int32_t *)(a.low + g * GROUP);
            __m512i lh = zero, ll = zero, hh = zero, hl = zero; /* nibble, byte of x; high nibbles count 16 times */
            for (int v = 0; v < 4; v++) {
                __m512i b = _mm512_loadu_si512(block + 64 * v), n = _mm512_and_si512(b, low), o = _mm512_and_si512(b, high);
                lh = _mm512_dpbusd_epi32(lh, n, _mm512_set1_epi32(xh[2 * v]));
                ll = _mm512_dpbusd_epi32(ll, n, _mm512_set1_epi32(xl[2 * v]));
                hh = _mm512_dpbusd_epi32(hh, o, _mm512_set1_epi32(xh[2 * v + 1]));
                hl = _mm512_dpbusd_epi32(hl, o, _mm512_set1_epi32(xl[2 * v + 1]));
            }
            __m512i of_high = _mm512_add_epi32(_mm512_slli_epi32(lh, 8), _mm512_slli_epi32(hh, 4));
            __m512i sum = _mm512_add_epi32(_mm512_add_epi32(ll, _mm512_srai_epi32(hl, 4)), of_high);
            out = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(a.scale[g])), HALVES(block + 256), out);
            minima = _mm512_fmadd_ps(HALVES(block + 288), _mm512_set1_ps(a.sum[g]), minima);
        }
    else
        for (int g = 0; g < groups; g++, block += Q8_BYTES) {
            const int32_t *xh = (const int32_t *)(a.high + g * GROUP), *xl = (const int32_t *)(a.low + g * GROUP);
            __m512i h0 = zero, l0 = zero, h1 = zero, l1 = _mm512_set1_epi32(-128 * a.sum_q[g]);
            for (int v = 0; v < 8; v += 2) {
                __m512i b = _mm512_loadu_si512(block + 64 * v), c = _mm512_loadu_si512(block + 64 * v + 64);
                h0 = _mm512_dpbusd_epi32(h0, b, _mm512_set1_epi32(xh[v]));
                l0 = _mm512_dpbusd_epi32(l0, b, _mm512_set1_epi32(xl[v]));
                h1 = _mm512_dpbusd_epi32(h1, c, _mm512_set1_epi32(xh[v + 1]));
                l1 = _mm512_dpbusd_epi32(l1, c, _mm512_set1_epi32(xl[v + 1]));
            }
            __m512i sum = _mm512_add_epi32(_mm512_slli_epi32(_mm512_add_epi32(h0, h1), 8), _mm512_add_epi32(l0, l1));
            out = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(a.scale[g])), HALVES(block + 512), out);
        }
    _mm512_storeu_ps(y, _mm512_add_ps(out, minima));
#else
    for (int r = 0; r < ROWS; r++) y[r] = w->bias ? w->bias[tile * ROWS + r] : 0;
    for (int g = 0; g < groups; g++, block += block_bytes(w->kind))
        for (int r = 0; r < ROWS; r++) {
            int32_t sum = 0;
            uint16_t d, m = 0;
            memcpy(&d, block + (w->kind == Q4 ? 256 : 512) + 2 * r, 2);
            if (w->kind == Q4) memcpy(&m, block + 288 + 2 * r, 2);
            for (int c = 0; c < GROUP; c++)
                sum += (256 * a.high[g * GROUP + c] + a.low[g * GROUP + c]) * weight_of(block, w->kind, r, c);
            y[r] += sum * a.scale[g] * half(d) + half(m) * a.sum[g];
        }
#endif
}

static void product(const Linear *w, Activation a, float *y, int thread, int threads) {
    /* this thread's share of y (n,), with room for a multiple of 16 */
    int tiles = (w->n + ROWS - 1) / ROWS;
    for (int tile = tiles * thread / threads; tile < tiles * (thread + 1) / threads; tile++) rows_times(w, tile, a, y + tile * ROWS);
}

/* ---- what lies between ---- */

static void norm(const float *x, const float *weight, int n, float eps, float *out) {
    float sum = 0;
    for (int i = 0; i < n; i++) sum += x[i] * x[i];
    float scale = 1 / sqrtf(sum / n + eps);
    for (int i = 0; i < n; i++) out[i] = weight[i] * (x[i] * scale);
}

static inline float fast_exp(float x) {
    /* 2^n * 2^f, error 2e-7; vectorised by the compiler */
    x = x < -87 ? -87 : x > 88 ? 88 : x;
    float t = x * 1.442695041f, n = rintf(t), f = (t - n) * 0.6931471806f;
    float p = 1 + f * (1 + f * (0.5f + f * (0.16666667f + f * (0.041666668f + f * (0.008333334f + f * 0.0013888889f)))));
    int32_t bits = ((int32_t)n + 127) << 23;
    float power;
    memcpy(&power, &bits, 4);
    return p * power;
}

static void rotate(float *head, const float *rotation, int dim) {
    for (int i = 0; i < dim; i += 2) {
        float a = head[i], b = head[i + 1], c = rotation[i], s = rotation[i + 1];
        head[i] = a * c - b * s;
        head[i + 1] = a * s + b * c;
    }
}

#ifdef FAST
static inline __m512 sum_each(__m512 *s) {
    /* lane j: the sum of s[j]'s lanes; halves the vectors four times */
    for (int i = 0; i < 8; i++) s[i] = _mm512_add_ps(_mm512_unpacklo_ps(s[i], s[i + 8]), _mm512_unpackhi_ps(s[i], s[i + 8]));
    for (int i = 0; i < 4; i++) s[i] = _mm512_add_ps(_mm512_unpacklo_ps(s[i], s[i + 4]), _mm512_unpackhi_ps(s[i], s[i + 4]));
    for (int i = 0; i < 2; i++) s[i] = _mm512_add_ps(_mm512_shuffle_f32x4(s[i], s[i + 2], 0x88), _mm512_shuffle_f32x4(s[i], s[i + 2], 0xdd));
    __m512 sum = _mm512_add_ps(_mm512_shuffle_f32x4(s[0], s[1], 0x88), _mm512_shuffle_f32x4(s[0], s[1], 0xdd));
    return _mm512_permutexvar_ps(_mm512_set_epi32(15, 7, 11, 3, 14, 6, 10, 2, 13, 5, 9, 1, 12, 4, 8, 0), sum);
}

static inline __m512 exp16(__m512 x) {
    /* error 2e-7 */
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.442695041f)), 0);
    __m512 f = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.6931471806f), x), p = _mm512_set1_ps(0.0013888889f);
    const float c[] = {0.008333334f, 0.041666668f, 0.16666667f, 0.5f, 1, 1};
    for (int i = 0; i < 6; i++) p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(c[i]));
    return _mm512_scalef_ps(p, n);
}

static inline __attribute__((always_inline)) void add_values(float *out, const float *weight, const float *values, int count, int dim, const int width) {
    __m512 sum[4];
    for (int i = 0; i < width; i++) sum[i] = _mm512_loadu_ps(out + 16 * i);
    for (int j = 0; j < count; j++) {
        __m512 share = _mm512_set1_ps(weight[j]);
        for (int i = 0; i < width; i++) sum[i] = _mm512_fmadd_ps(share, _mm512_loadu_ps(values + (size_t)j * dim + 16 * i), sum[i]);
    }
    for (int i = 0; i < width; i++) _mm512_storeu_ps(out + 16 * i, sum[i]);
}
#endif

typedef struct { float most, total; float out[]; } Part; /* of one query head over some of the positions */

static inline Part *part_of(float *parts, int dim, int index) { return (Part *)(parts + (size_t)index * (dim + 2)); }

static void shrink_to(Part *part, int dim, float most) {
    float shrink = part->most == -INFINITY ? 0 : fast_exp(part->most - most);
    part->total *= shrink;
    for (int i = 0; i < dim; i++) part->out[i] *= shrink;
    part->most = most;
}

static void attend(const Model *m, const void *keys, const void *values, const float *q, int begin, int end, float *parts, int first_part) {
    /* `group` query heads q (group, D) over positions begin..end of one key head (T, D), a tile of 16 at a time */
    int dim = m->head_dim, group = m->heads / m->kv_heads;
    for (int h = 0; h < group; h++) {
        Part *part = part_of(parts, dim, first_part + h);
        part->most = -INFINITY;
        part->total = 0;
        memset(part->out, 0, sizeof(float) * dim);
    }
    float root = 1 / sqrtf(dim), tile[TILE * 256], score[TILE];
    for (int t = begin; t < end; t += TILE) {
        int count = smaller(TILE, end - t);
        for (int which = 0; which < 2; which++) { /* keys for the scores of all heads, then values */
            const float *from;
            const void *source = which ? values : keys;
            if (m->half_cache) {
                const uint16_t *in = (const uint16_t *)source + (size_t)t * dim;
#ifdef FAST
                for (int i = 0; i < count * dim; i += 16) _mm512_storeu_ps(tile + i, HALVES(in + i));
#else
                for (int i = 0; i < count * dim; i++) tile[i] = half(in[i]);
#endif
                from = tile;
            } else
                from = (const float *)source + (size_t)t * dim;
            static _Thread_local float weight[MOST_HEADS][TILE];
            for (int h = 0; h < group; h++) {
                Part *part = part_of(parts, dim, first_part + h);
                if (which == 0) {
                    const float *query = q + h * dim;
#ifdef FAST
                    if (count == TILE) {
                        __m512 sums[16];
                        for (int j = 0; j < TILE; j++) {
                            __m512 s = _mm512_mul_ps(_mm512_loadu_ps(query), _mm512_loadu_ps(from + j * dim));
                            for (int i = 16; i < dim; i += 16) s = _mm512_fmadd_ps(_mm512_loadu_ps(query + i), _mm512_loadu_ps(from + j * dim + i), s);
                            sums[j] = s;
                        }
                        __m512 scores = _mm512_mul_ps(sum_each(sums), _mm512_set1_ps(root));
                        float most = _mm512_reduce_max_ps(scores);
                        if (most > part->most) shrink_to(part, dim, most);
                        __m512 weights = exp16(_mm512_sub_ps(scores, _mm512_set1_ps(part->most)));
                        _mm512_storeu_ps(weight[h], weights);
                        part->total += _mm512_reduce_add_ps(weights);
                        continue;
                    }
#endif
                    for (int j = 0; j < count; j++) {
                        float s = 0;
                        for (int i = 0; i < dim; i++) s += query[i] * from[j * dim + i];
                        score[j] = s * root;
                    }
                    float most = part->most;
                    for (int j = 0; j < count; j++) most = score[j] > most ? score[j] : most;
                    if (most > part->most) shrink_to(part, dim, most);
                    for (int j = 0; j < TILE; j++) weight[h][j] = j < count ? fast_exp(score[j] - most) : 0;
                    for (int j = 0; j < count; j++) part->total += weight[h][j];
                } else
#ifdef FAST
                    for (int i = 0; i < dim; i += 64) /* the sums stay in registers */
                        switch (smaller(4, (dim - i) / 16)) {
                        case 4: add_values(part->out + i, weight[h], from + i, count, dim, 4); break;
                        case 3: add_values(part->out + i, weight[h], from + i, count, dim, 3); break;
                        case 2: add_values(part->out + i, weight[h], from + i, count, dim, 2); break;
                        default: add_values(part->out + i, weight[h], from + i, count, dim, 1); break;
                        }
#else
                    for (int j = 0; j < count; j++)
                        for (int i = 0; i < dim; i++) part->out[i] += weight[h][j] * from[j * dim + i];
#endif
            }
        }
    }
}

static void join_parts(const Model *m, float *parts, int threads, float *out) {
    /* parts (threads, H) -> out (H, D) */
    int dim = m->head_dim;
    for (int h = 0; h < m->heads; h++) {
        float most = -INFINITY, total = 0;
        for (int t = 0; t < threads; t++) { float one = part_of(parts, dim, t * m->heads + h)->most; most = one > most ? one : most; }
        memset(out + h * dim, 0, sizeof(float) * dim);
        for (int t = 0; t < threads; t++) {
            Part *part = part_of(parts, dim, t * m->heads + h);
            if (part->most == -INFINITY) continue;
            float share = fast_exp(part->most - most);
            total += share * part->total;
            for (int i = 0; i < dim; i++) out[h * dim + i] += share * part->out[i];
        }
        for (int i = 0; i < dim; i++) out[h * dim + i] /= total;
    }
}

/* ---- one token, by all threads at once ---- */

typedef struct {
    const Model *m; float *x; void *kv; int64_t capacity; int position; const float *rotation; float *logits;
    float *qkv, *hidden, *added, *parts, *logits16; int threads;
} Step;

enum { SPINS = 1000 }; /* about 60 us */
static atomic_int arrived, phase, asleep;

static inline void pause_a_little(void) {
#ifdef FAST
    _mm_pause();
#endif
}

static void meet(int threads) {
    int now = atomic_load(&phase);
    if (atomic_fetch_add(&arrived, 1) == threads - 1) {
        atomic_store(&arrived, 0);
        atomic_fetch_add(&phase, 1);
#ifdef __linux__
        if (atomic_load(&asleep)) syscall(SYS_futex, &phase, FUTEX_WAKE_PRIVATE, MOST_THREADS, NULL, NULL, 0);
#endif
        return;
    }
    for (int spins = 0; atomic_load_explicit(&phase, memory_order_acquire) == now; spins++) {
        if (spins < SPINS) { pause_a_little(); continue; }
#ifdef __linux__ /* the other thread is not running: give it the core, and don't use up our share of it */
        atomic_fetch_add(&asleep, 1);
        syscall(SYS_futex, &phase, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0);
        atomic_fetch_sub(&asleep, 1);
#else
        sched_yield();
#endif
    }
}

static void store(const Model *m, void *cache, size_t at, const float *from) {
    if (m->half_cache) for (int i = 0; i < m->head_dim; i++) ((uint16_t *)cache)[at + i] = to_half(from[i]);
    else memcpy((float *)cache + at, from, sizeof(float) * m->head_dim);
}

static void run(Step *s, int thread) {
    const Model *m = s->m;
    int dim = m->head_dim, heads = m->heads, kv_heads = m->kv_heads, group = heads / kv_heads, threads = s->threads;
    int widest = m->hidden > heads * dim ? m->hidden : heads * dim;
    widest = widest > m->width ? widest : m->width;
    /* each thread does the small things for itself: cheaper than to wait for another */
    float *x = malloc(sizeof(float) * m->width), *y = malloc(sizeof(float) * (widest + 64)), *q = malloc(sizeof(float) * heads * dim);
    Activation a = new_activation(widest);
    memcpy(x, s->x, sizeof(float) * m->width);
    size_t item = m->half_cache ? 2 : 4, side = (size_t)kv_heads * s->capacity * dim;
    for (int l = 0; l < m->count; l++) {
        const Layer *w = m->layers + l;
        norm(x, w->attention_norm, m->width, m->eps, y);
        round_activation(y, m->width, a);
        product(&w->qkv, a, s->qkv, thread, threads);
        meet(threads);
        char *keys = (char *)s->kv + (size_t)l * 2 * side * item, *values = keys + side * item;
        float own_key[256], turned[256];
        int begin = w->window && s->position + 1 > w->window ? s->position + 1 - w->window : 0, length = s->position + 1 - begin;
        int from = begin + (int)((int64_t)length * thread / threads), to = begin + (int)((int64_t)length * (thread + 1) / threads);
        memcpy(q, s->qkv, sizeof(float) * heads * dim);
        for (int h = 0; h < heads; h++) {
            if (w->qk_norm) norm(q + h * dim, w->qk_norm + h * dim, dim, m->eps, q + h * dim);
            if (w->rotated) rotate(q + h * dim, s->rotation, dim);
        }
        for (int h = 0; h < kv_heads; h++) {
            if (to == s->position + 1) { /* this thread has the last position: it writes it */
                memcpy(own_key, s->qkv + (heads + h) * dim, sizeof(float) * dim);
                if (w->qk_norm) norm(own_key, w->qk_norm + (heads + h) * dim, dim, m->eps, turned), memcpy(own_key, turned, sizeof(float) * dim);
                if (w->rotated) rotate(own_key, s->rotation, dim);
                size_t at = ((size_t)h * s->capacity + s->position) * dim;
                store(m, keys, at, own_key);
                store(m, values, at, s->qkv + (heads + kv_heads + h) * dim);
            }
            size_t head = (size_t)h * s->capacity * dim * item;
            attend(m, keys + head, values + head, q + h * group * dim, from, to, s->parts, thread * heads + h * group);
        }
        meet(threads);
        join_parts(m, s->parts, threads, y);
        round_activation(y, heads * dim, a);
        product(&w->out, a, s->added, thread, threads);
        meet(threads);
        for (int i = 0; i < m->width; i++) x[i] += s->added[i];
        norm(x, w->hidden_norm, m->width, m->eps, y);
        round_activation(y, m->width, a);
        product(&w->gate_up, a, s->hidden, thread, threads);
        meet(threads);
        for (int i = 0; i < m->hidden; i++) y[i] = s->hidden[i] / (1 + fast_exp(-s->hidden[i])) * s->hidden[m->hidden + i];
        round_activation(y, m->hidden, a);
        product(&w->down, a, s->added, thread, threads);
        meet(threads);
        for (int i = 0; i < m->width; i++) x[i] += s->added[i];
    }
    norm(x, m->norm, m->width, m->eps, y);
    round_activation(y, m->width, a);
    product(&m->head, a, s->logits, thread, threads);
    free(x); free(y); free(q); free(a.high);
}

/* ---- threads that wait for work ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER, one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t begun = PTHREAD_COND_INITIALIZER;
static int started, generation;
static void (*job)(void *, int, int);
static void *job_data;
static int job_threads;
static atomic_int left;

static void *work(void *number) {
    int thread = (int)(intptr_t)number, seen = 0;
    pthread_mutex_lock(&lock);
    seen = generation - 1;
    for (;;) {
        while (generation == seen) pthread_cond_wait(&begun, &lock);
        seen = generation;
        int mine = thread < job_threads, threads = job_threads;
        pthread_mutex_unlock(&lock);
        if (mine) { job(job_data, thread, threads); atomic_fetch_sub(&left, 1); }
        pthread_mutex_lock(&lock);
    }
    return NULL;
}

static void all(void (*task)(void *, int, int), void *data, int threads) {
    pthread_mutex_lock(&one_at_a_time);
    pthread_mutex_lock(&lock);
    job = task, job_data = data, job_threads = threads, generation++;
    atomic_store(&left, threads - 1);
    for (; started < threads - 1; started++) {
        pthread_t id;
        pthread_create(&id, NULL, work, (void *)(intptr_t)(started + 1));
        pthread_detach(id);
    }
    pthread_cond_broadcast(&begun);
    pthread_mutex_unlock(&lock);
    task(data, 0, threads);
    while (atomic_load(&left)) sched_yield();
    pthread_mutex_unlock(&one_at_a_time);
}

static void run_step(void *data, int thread, int threads) { (void)threads; run(data, thread); }

void step(const Model *m, float *x, void *kv, int64_t capacity, int position, const float *rotation, float *logits, int threads) {
    /* x (C,): the token's embedding. kv (layers, 2, H_kv, capacity, D). logits has room for a multiple of 16. */
    int dim = m->head_dim;
    Step s = {.m = m, .x = x, .kv = kv, .capacity = capacity, .position = position, .rotation = rotation, .logits = logits, .threads = threads};
    s.qkv = malloc(sizeof(float) * ((m->heads + 2 * m->kv_heads) * dim + 64));
    s.hidden = malloc(sizeof(float) * (2 * m->hidden + 64));
    s.added = malloc(sizeof(float) * (m->width + 64));
    s.parts = malloc(sizeof(float) * (dim + 2) * m->heads * threads);
    all(run_step, &s, threads);
    free(s.qkv); free(s.hidden); free(s.added); free(s.parts);
}

static void run_products(void *data, int thread, int threads) {
    Step *s = data;
    const Model *m = s->m;
    Activation a = new_activation(m->hidden > m->heads * m->head_dim ? m->hidden : m->heads * m->head_dim);
    round_activation(s->x, m->width, a);
    for (int l = 0; l < m->count; l++) {
        const Layer *w = m->layers + l;
        product(&w->qkv, a, s->hidden, thread, threads);
        product(&w->out, a, s->hidden, thread, threads);
        product(&w->gate_up, a, s->hidden, thread, threads);
        product(&w->down, a, s->hidden, thread, threads);
    }
    product(&m->head, a, s->logits, thread, threads);
    free(a.high);
}

void products(const Model *m, float *x, float *logits, int threads) {
    /* all the products of a token and nothing else, not even waiting: for the benchmark */
    Step s = {.m = m, .x = x, .logits = logits};
    s.hidden = malloc(sizeof(float) * (2 * m->hidden + (m->heads + 2 * m->kv_heads) * m->head_dim + m->width + 64));
    all(run_products, &s, threads);
    free(s.hidden);
}

typedef struct { const Linear *w; const float *x; float *y; int count; } Times;

static void run_times(void *data, int thread, int threads) {
    Times *t = data;
    int k = t->w->k, wide = (t->w->n + ROWS - 1) / ROWS * ROWS;
    Activation a = new_activation(k);
    for (int i = 0; i < t->count; i++) {
        round_activation(t->x + (size_t)i * k, k, a);
        product(t->w, a, t->y + (size_t)i * wide, thread, threads);
    }
    free(a.high);
}

void times(const Linear *w, const float *x, int count, float *y, int threads) {
    /* y (count, n up to a multiple of 16) = x (count, k) W^T + bias */
    Times t = {w, x, y, count};
    all(run_times, &t, threads);
}

typedef struct { const Linear *w; float *out; } Unpack;

static void run_unpack(void *data, int thread, int threads) {
    Unpack *u = data;
    const Linear *w = u->w;
    int tiles = (w->n + ROWS - 1) / ROWS, groups = w->k / GROUP;
    for (int tile = tiles * thread / threads; tile < tiles * (thread + 1) / threads; tile++) {
#ifdef FAST
        const uint8_t *block = w->blocks + (size_t)tile * groups * block_bytes(w->kind);
        int rows = smaller(ROWS, w->n - tile * ROWS);
        for (int g = 0; g < groups; g++, block += block_bytes(w->kind)) {
            __m512 d = HALVES(block + (w->kind == Q4 ? 256 : 512)), column[32];
            __m512i q = _mm512_setzero_si512();
            if (w->kind == Q4) {
                __m512 m = HALVES(block + 288);
                for (int c = 0; c < GROUP; c++) {
                    if (c % 8 == 0) q = _mm512_loadu_si512(block + 8 * c);
                    __m512i one = _mm512_and_si512(_mm512_srlv_epi32(q, _mm512_set1_epi32(c % 4 * 8 + (c & 4))), _mm512_set1_epi32(15));
                    column[c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(one), d, m);
                }
            } else
                for (int c = 0; c < GROUP; c++) {
                    if (c % 4 == 0) q = _mm512_xor_si512(_mm512_loadu_si512(block + 16 * c), _mm512_set1_epi8((char)128));
                    __m512i one = _mm512_srai_epi32(_mm512_sllv_epi32(q, _mm512_set1_epi32(24 - c % 4 * 8)), 24);
                    column[c] = _mm512_mul_ps(_mm512_cvtepi32_ps(one), d);
                }
            for (int part = 0; part < 2; part++) {
                transpose16(column + 16 * part);
                for (int r = 0; r < rows; r++) _mm512_storeu_ps(u->out + (size_t)(tile * ROWS + r) * w->k + g * GROUP + 16 * part, column[16 * part + r]);
            }
        }
#else
        (void)groups;
        for (int r = tile * ROWS; r < smaller(w->n, (tile + 1) * ROWS); r++) unpack_row(w, r, u->out + (size_t)r * w->k);
#endif
    }
}

void unpack(const Linear *w, float *out, int threads) {
    /* the weights (n, k) as float32 */
    Unpack u = {w, out};
    all(run_unpack, &u, threads);
}
