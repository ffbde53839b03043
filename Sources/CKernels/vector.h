/* Sixteen lanes on every instruction set. Included inside a region that sets the target, so that each path compiles its own. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#pragma STDC FP_CONTRACT OFF
#pragma clang diagnostic ignored "-Wpsabi"

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")

typedef float v16 __attribute__((ext_vector_type(16)));
typedef float v16_any __attribute__((ext_vector_type(16), aligned(4), may_alias));
typedef int32_t i16 __attribute__((ext_vector_type(16)));
typedef uint32_t u16 __attribute__((ext_vector_type(16)));
typedef double d16 __attribute__((ext_vector_type(16)));

INLINE v16 load16(const float *p) { return *(const v16_any *)p; }
INLINE void store16(float *p, v16 x) { *(v16_any *)p = x; }
INLINE v16 splat(float x) { return (v16)x; }
INLINE v16 fma16(v16 a, v16 b, v16 c) { return __builtin_elementwise_fma(a, b, c); }
INLINE v16 max16(v16 a, v16 b) { return a > b ? a : b; }
INLINE i16 lanes16(void) { return (i16){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}; }

/* The first n lanes from memory, the others `rest`; n in 0...16. */
INLINE v16 load_first(const float *p, size_t n, float rest) {
    if (n >= 16) return load16(p);
    float t[16];
    for (size_t i = 0; i < 16; i++) t[i] = rest;
    memcpy(t, p, n * sizeof(float));
    return load16(t);
}

INLINE void store_first(float *p, v16 x, size_t n) {
    if (n >= 16) {
        store16(p, x);
        return;
    }
    float t[16];
    store16(t, x);
    memcpy(p, t, n * sizeof(float));
}

/* The first n lanes of x, the others `rest`. */
INLINE v16 keep_first(v16 x, size_t n, float rest) { return lanes16() < (i16)(int32_t)n ? x : splat(rest); }

/* Lane sums in one tree: halves are added until one is left. */
INLINE float sum16(v16 x) {
    float t[16];
    store16(t, x);
    UNROLL for (int half = 8; half > 0; half /= 2) {
        UNROLL for (int i = 0; i < half; i++) t[i] = t[i] + t[i + half];
    }
    return t[0];
}

INLINE double sum16d(d16 x) {
    double t[16];
    memcpy(t, &x, sizeof t);
    for (int half = 8; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) t[i] = t[i] + t[i + half];
    }
    return t[0];
}

INLINE float largest16(v16 x) {
    float t[16];
    store16(t, x);
    float best = t[0];
    for (int i = 1; i < 16; i++) best = t[i] > best ? t[i] : best;
    return best;
}

/* e^x within 1 ulp: x = n ln 2 + r, a polynomial for e^r on |r| <= ln 2 / 2, and 2^n in two factors so that results below the
 * normal range round once. NaN stays NaN. Overflows to infinity above 88.73, underflows to zero below -103.98. */
INLINE v16 exp16(v16 x) {
    const float shift = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer in the low bits */
    v16 clamped = x > splat(89.0f) ? splat(89.0f) : x;
    clamped = clamped < splat(-105.0f) ? splat(-105.0f) : clamped;
    v16 shifted = fma16(clamped, splat(1.44269504088896341f), splat(shift));
    v16 n = shifted - splat(shift);
    v16 r = fma16(n, splat(-0.693145751953125f), clamped);
    r = fma16(n, splat(-1.42860682030941723e-6f), r);
    v16 p = splat(1.9875691500e-4f);
    p = fma16(p, r, splat(1.3981999507e-3f));
    p = fma16(p, r, splat(8.3334519073e-3f));
    p = fma16(p, r, splat(4.1665795894e-2f));
    p = fma16(p, r, splat(1.6666665459e-1f));
    p = fma16(p, r, splat(5.0000001201e-1f));
    v16 e = fma16(p, r * r, r) + splat(1.0f);
    i16 bits, shift_bits;
    v16 shifts = splat(shift);
    memcpy(&bits, &shifted, sizeof bits);
    memcpy(&shift_bits, &shifts, sizeof shift_bits);
    i16 whole = bits - shift_bits, half = whole >> 1; /* no conversion, so a NaN stays defined */
    u16 first = ((u16)half + 127) << 23, second = ((u16)whole - (u16)half + 127) << 23;
    v16 a, b;
    memcpy(&a, &first, sizeof a);
    memcpy(&b, &second, sizeof b);
    return e * a * b;
}
