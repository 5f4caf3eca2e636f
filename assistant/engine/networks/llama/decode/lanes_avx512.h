/* Sixteen lanes of 32 bits in one register: AVX512 with VNNI (Intel since 2019, AMD since 2022). */
#pragma once
#include <immintrin.h>

typedef __m512 F;       /* sixteen floats */
typedef __m512i I;      /* sixteen 32-bit integers, or 32 of 16 bits, or 64 bytes */
typedef uint16_t Halves __attribute__((vector_size(64)));

enum { HAS_BYTE_PRODUCTS = 1 };                    /* unsigned times signed bytes, added up in 32 bits */
enum { MOST_TOGETHER = 8 };                        /* rows whose sums stay in registers */
enum { HEADS_TOGETHER = 4, VECTORS_TOGETHER = 4 }; /* likewise in attention */

INLINE F f_zero(void) { return _mm512_setzero_ps(); }
INLINE F f_all(float x) { return _mm512_set1_ps(x); }
INLINE F f_load(const float *at) { return _mm512_loadu_ps(at); }
INLINE void f_store(float *at, F x) { _mm512_storeu_ps(at, x); }
INLINE F f_add(F x, F y) { return _mm512_add_ps(x, y); }
INLINE F f_sub(F x, F y) { return _mm512_sub_ps(x, y); }
INLINE F f_mul(F x, F y) { return _mm512_mul_ps(x, y); }
INLINE F f_div(F x, F y) { return _mm512_div_ps(x, y); }
INLINE F f_max(F x, F y) { return _mm512_max_ps(x, y); }
INLINE F f_min(F x, F y) { return _mm512_min_ps(x, y); }
INLINE F f_abs(F x) { return _mm512_abs_ps(x); }
INLINE F f_fma(F x, F y, F z) { return _mm512_fmadd_ps(x, y, z); } /* x * y + z */
INLINE F f_nearest(F x) { return _mm512_roundscale_ps(x, 0); }
INLINE F f_times_power(F x, F n) { return _mm512_scalef_ps(x, n); } /* x * 2^n, of whole n > -127 */
INLINE float f_sum(F x) { return _mm512_reduce_add_ps(x); }
INLINE float f_most(F x) { return _mm512_reduce_max_ps(x); }
INLINE int f_any_above(F x, float y) { return _mm512_cmp_ps_mask(x, _mm512_set1_ps(y), _CMP_NLE_UQ) != 0; }
INLINE F f_where(uint32_t mask, F x, float other) { return _mm512_mask_mov_ps(_mm512_set1_ps(other), (__mmask16)mask, x); }
INLINE F f_held(F x) {
    /* in a register: gcc would load it anew for each product, and a core loads no faster than it multiplies (70 -> 58 ms) */
    __asm__("" : "+v"(x));
    return x;
}
INLINE F f_halves(const void *at) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)at)); }
INLINE void f_store_halves(uint16_t *at, F x) { _mm256_storeu_si256((__m256i *)at, _mm512_cvtps_ph(x, 0)); }
INLINE F f_bfloat16(const void *at) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)at)), 16));
}
INLINE void f_store_bfloat16(uint16_t *at, F x) {
    I bits = _mm512_castps_si512(x), odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    bits = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    _mm256_storeu_si256((__m256i *)at, _mm512_cvtepi32_epi16(_mm512_srli_epi32(bits, 16)));
}
INLINE F f_of(I x) { return _mm512_cvtepi32_ps(x); }

INLINE I i_load(const void *at) { return _mm512_loadu_si512(at); }
INLINE I i_all(int32_t x) { return _mm512_set1_epi32(x); }
INLINE I i_add(I x, I y) { return _mm512_add_epi32(x, y); }
INLINE I i_and(I x, I y) { return _mm512_and_si512(x, y); }
INLINE I i_or(I x, I y) { return _mm512_or_si512(x, y); }
INLINE I i_left(I x, int n) { return (I)((Halves)x << n); }   /* each 16 bits */
INLINE I i_right(I x, int n) { return (I)((Halves)x >> n); }
INLINE I i_left8(I x) { return _mm512_slli_epi32(x, 8); }     /* each 32 bits */
INLINE I i_byte(I x, int b) { return _mm512_and_si512(_mm512_srl_epi32(x, _mm_cvtsi32_si128(8 * b)), _mm512_set1_epi32(255)); }
INLINE I i_unsigned(const void *at) { return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)at)); }
INLINE I i_signed(const void *at) { return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)at)); }
INLINE I i_looked_up(const int8_t *table, I index) { /* of 16 bytes */
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)table)), index);
}
INLINE I i_dot4(I sum, I bytes, I x) { return _mm512_dpbusd_epi32(sum, bytes, x); }
INLINE I i_dot2(I sum, I y, I x) { return _mm512_dpwssd_epi32(sum, y, x); }
INLINE I i_rounded(F x) { return _mm512_cvtps_epi32(x); }
INLINE int32_t i_sum(I x) { return _mm512_reduce_add_epi32(x); }
INLINE void i_store16(int16_t *at, I x) {
    /* as 16 bits; of each four the middle two change places */
    __m256i whole = _mm512_cvtepi32_epi16(x);
    _mm256_storeu_si256((__m256i *)at, _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(whole, 0xd8), 0xd8));
}
INLINE void i_store_bytes(int8_t *high, int8_t *low, I x) {
    /* x = 256 * high + low, both signed */
    _mm_storeu_si128((__m128i *)high, _mm512_cvtepi32_epi8(_mm512_srai_epi32(_mm512_add_epi32(x, _mm512_set1_epi32(128)), 8)));
    _mm_storeu_si128((__m128i *)low, _mm512_cvtepi32_epi8(x));
}

INLINE void transpose16(F *r) {
    F t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int j = 0; j < 2; j++) {
            __m512d a = _mm512_castps_pd(t[i + j]), b = _mm512_castps_pd(t[i + j + 2]);
            r[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
            r[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
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
