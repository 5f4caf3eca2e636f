/* What lies between the products and attention: norms, gates, rotations. */
#pragma once
#include <math.h>

static void norm(const float *x, const float *weight, int n, float eps, float *out) {
    float sum = 0;
    for (int i = 0; i < n; i++) sum += x[i] * x[i];
    float scale = 1 / sqrtf(sum / n + eps);
    for (int i = 0; i < n; i++) out[i] = weight[i] * (x[i] * scale);
}

INLINE F exp16(F x) {
    /* of numbers down to -infinity's neighbours; error 2e-7 */
    x = f_max(x, f_all(-87));
    F n = f_nearest(f_mul(x, f_all(1.442695041f)));
    F f = f_fma(n, f_all(-0.6931471806f), x), p = f_all(0.0013888889f);
    const float c[] = {0.008333334f, 0.041666668f, 0.16666667f, 0.5f, 1, 1};
    for (int i = 0; i < 6; i++) p = f_fma(p, f, f_all(c[i]));
    return f_times_power(p, n);
}

static float exp1(float x) {
    F y = exp16(f_all(x));
    return *(const float *)&y;
}

static void gated(const float *gate_up, int hidden, int gelu, float *out) {
    /* silu(gate) * up, or gelu(gate) * up; hidden is a multiple of 32. Both are the gate times a sigmoid: silu of the gate
     * itself, gelu (its form with tanh) of a cubic */
    for (int i = 0; i < hidden; i += 16) {
        F gate = f_load(gate_up + i), up = f_load(gate_up + hidden + i), inner = gate;
        if (gelu) inner = f_mul(gate, f_fma(f_mul(gate, gate), f_all(0.0713548163f), f_all(1.5957691216f)));
        F below = f_add(f_all(1), exp16(f_min(f_sub(f_zero(), inner), f_all(88))));
        f_store(out + i, f_mul(f_div(gate, below), up));
    }
}

static void rotate(float *head, const float *rotation, int dim) {
    for (int i = 0; i < dim; i += 2) {
        float a = head[i], b = head[i + 1], c = rotation[i], s = rotation[i + 1];
        head[i] = a * c - b * s;
        head[i + 1] = a * s + b * c;
    }
}
