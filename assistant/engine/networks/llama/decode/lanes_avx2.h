/* Sixteen lanes of 32 bits in two registers: AVX2 with FMA and F16C (Intel since 2013, AMD since 2015). */
#pragma once
#include <immintrin.h>

typedef struct { __m256 a, b; } F;  /* sixteen floats */
typedef struct { __m256i a, b; } I; /* sixteen 32-bit integers, or 32 of 16 bits, or 64 bytes */

enum { HAS_BYTE_PRODUCTS = 0 };                    /* those of AVX2 are cut off at 16 bits */
enum { MOST_TOGETHER = 4 };                        /* rows whose sums stay in registers */
enum { HEADS_TOGETHER = 2, VECTORS_TOGETHER = 2 }; /* likewise in attention */

#define OF_TWO(type, name, op) \
    INLINE type name(type x, type y) { return (type){op(x.a, y.a), op(x.b, y.b)}; }
OF_TWO(F, f_add, _mm256_add_ps)
OF_TWO(F, f_sub, _mm256_sub_ps)
OF_TWO(F, f_mul, _mm256_mul_ps)
OF_TWO(F, f_div, _mm256_div_ps)
OF_TWO(F, f_max, _mm256_max_ps)
OF_TWO(F, f_min, _mm256_min_ps)
OF_TWO(I, i_add, _mm256_add_epi32)
OF_TWO(I, i_and, _mm256_and_si256)
OF_TWO(I, i_or, _mm256_or_si256)
#undef OF_TWO

INLINE F f_all(float x) { return (F){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
INLINE F f_zero(void) { return f_all(0); }
INLINE F f_load(const float *at) { return (F){_mm256_loadu_ps(at), _mm256_loadu_ps(at + 8)}; }
INLINE void f_store(float *at, F x) { _mm256_storeu_ps(at, x.a), _mm256_storeu_ps(at + 8, x.b); }
INLINE F f_abs(F x) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return (F){_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}
INLINE F f_fma(F x, F y, F z) { return (F){_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)}; } /* x * y + z */
INLINE F f_nearest(F x) { return (F){_mm256_round_ps(x.a, 8), _mm256_round_ps(x.b, 8)}; }
INLINE __m256 times_power(__m256 x, __m256 n) {
    __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
}
INLINE F f_times_power(F x, F n) { return (F){times_power(x.a, n.a), times_power(x.b, n.b)}; } /* x * 2^n, of whole n > -127 */
INLINE float f_sum(F x) {
    __m256 eight = _mm256_add_ps(x.a, x.b);
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
INLINE float f_most(F x) {
    __m256 eight = _mm256_max_ps(x.a, x.b);
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
INLINE int f_any_above(F x, float y) {
    __m256 than = _mm256_set1_ps(y);
    return _mm256_movemask_ps(_mm256_or_ps(_mm256_cmp_ps(x.a, than, _CMP_NLE_UQ), _mm256_cmp_ps(x.b, than, _CMP_NLE_UQ))) != 0;
}
INLINE __m256 where(uint32_t mask, __m256 x, __m256 other) {
    const __m256i bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    __m256i chosen = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32((int)mask), bits), bits);
    return _mm256_blendv_ps(other, x, _mm256_castsi256_ps(chosen));
}
INLINE F f_where(uint32_t mask, F x, float other) {
    __m256 rest = _mm256_set1_ps(other);
    return (F){where(mask, x.a, rest), where(mask >> 8, x.b, rest)};
}
INLINE F f_held(F x) { return x; } /* too few registers to hold it in */
INLINE F f_halves(const void *at) {
    const __m128i *from = at;
    return (F){_mm256_cvtph_ps(_mm_loadu_si128(from)), _mm256_cvtph_ps(_mm_loadu_si128(from + 1))};
}
INLINE void f_store_halves(uint16_t *at, F x) {
    _mm_storeu_si128((__m128i *)at, _mm256_cvtps_ph(x.a, 0)), _mm_storeu_si128((__m128i *)at + 1, _mm256_cvtps_ph(x.b, 0));
}
INLINE __m256 widened_bfloat16(const void *at) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)at)), 16));
}
INLINE F f_bfloat16(const void *at) { return (F){widened_bfloat16(at), widened_bfloat16((const char *)at + 16)}; }
INLINE __m256i rounded_bfloat16(__m256 x) {
    __m256i bits = _mm256_castps_si256(x), odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    return _mm256_srli_epi32(_mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
}
INLINE void f_store_bfloat16(uint16_t *at, F x) {
    __m256i both = _mm256_packus_epi32(rounded_bfloat16(x.a), rounded_bfloat16(x.b));
    _mm256_storeu_si256((__m256i *)at, _mm256_permute4x64_epi64(both, 0xd8));
}
INLINE F f_of(I x) { return (F){_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }

INLINE I i_load(const void *at) {
    const __m256i *from = at;
    return (I){_mm256_loadu_si256(from), _mm256_loadu_si256(from + 1)};
}
INLINE I i_all(int32_t x) { return (I){_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
INLINE I i_left(I x, int n) { return (I){_mm256_slli_epi16(x.a, n), _mm256_slli_epi16(x.b, n)}; } /* each 16 bits */
INLINE I i_right(I x, int n) { return (I){_mm256_srli_epi16(x.a, n), _mm256_srli_epi16(x.b, n)}; }
INLINE I i_left8(I x) { return (I){_mm256_slli_epi32(x.a, 8), _mm256_slli_epi32(x.b, 8)}; } /* each 32 bits */
INLINE I i_byte(I x, int b) {
    const __m256i low = _mm256_set1_epi32(255);
    return (I){_mm256_and_si256(_mm256_srli_epi32(x.a, 8 * b), low), _mm256_and_si256(_mm256_srli_epi32(x.b, 8 * b), low)};
}
INLINE I i_unsigned(const void *at) {
    return (I){_mm256_cvtepu8_epi32(_mm_loadu_si64(at)), _mm256_cvtepu8_epi32(_mm_loadu_si64((const char *)at + 8))};
}
INLINE I i_signed(const void *at) {
    return (I){_mm256_cvtepi8_epi32(_mm_loadu_si64(at)), _mm256_cvtepi8_epi32(_mm_loadu_si64((const char *)at + 8))};
}
INLINE I i_looked_up(const int8_t *table, I index) { /* of 16 bytes */
    __m256i both = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)table));
    return (I){_mm256_shuffle_epi8(both, index.a), _mm256_shuffle_epi8(both, index.b)};
}
INLINE I i_dot4(I sum, I bytes, I x) { return (void)bytes, (void)x, sum; } /* never called: HAS_BYTE_PRODUCTS */
INLINE I i_dot2(I sum, I y, I x) {
    return i_add(sum, (I){_mm256_madd_epi16(y.a, x.a), _mm256_madd_epi16(y.b, x.b)});
}
INLINE I i_rounded(F x) { return (I){_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }
INLINE int32_t i_sum(I x) {
    __m256i eight = _mm256_add_epi32(x.a, x.b);
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}
INLINE void i_store16(int16_t *at, I x) {
    /* as 16 bits; of each four the middle two change places */
    __m256i whole = _mm256_permute4x64_epi64(_mm256_packs_epi32(x.a, x.b), 0xd8);
    _mm256_storeu_si256((__m256i *)at, _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(whole, 0xd8), 0xd8));
}
INLINE void i_store_bytes(int8_t *high, int8_t *low, I x) { (void)high, (void)low, (void)x; }

INLINE void transpose8(const __m256 *from, __m256 *to) {
    __m256 t[8], u[8];
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(from[i], from[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(from[i], from[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; j++) {
            u[i + 2 * j] = _mm256_shuffle_ps(t[i + j], t[i + j + 2], 0x44);
            u[i + 2 * j + 1] = _mm256_shuffle_ps(t[i + j], t[i + j + 2], 0xee);
        }
    for (int i = 0; i < 4; i++) {
        to[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
        to[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
    }
}
INLINE void transpose16(F *r) {
    __m256 square[4][8], turned[4][8]; /* above left, above right, below left, below right */
    for (int i = 0; i < 8; i++)
        square[0][i] = r[i].a, square[1][i] = r[i].b, square[2][i] = r[i + 8].a, square[3][i] = r[i + 8].b;
    for (int s = 0; s < 4; s++) transpose8(square[s], turned[s]);
    for (int i = 0; i < 8; i++) r[i] = (F){turned[0][i], turned[2][i]}, r[i + 8] = (F){turned[1][i], turned[3][i]};
}
