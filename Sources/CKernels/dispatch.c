#include "kernels.h"

#include <stdatomic.h>

/* -1: not chosen yet. */
static _Atomic int32_t chosen = -1;

int mmed_path_supported(int32_t path) {
    if (path == 0) return 1;
#if defined(__x86_64__)
    __builtin_cpu_init();
    const int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (path == 1) return avx2;
    if (path == 2) {
        return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    }
#endif
    return 0;
}

int32_t mmed_path_current(void) {
    int32_t path = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (path >= 0) return path;
    path = mmed_path_supported(2) ? 2 : mmed_path_supported(1) ? 1 : 0;
    atomic_store_explicit(&chosen, path, memory_order_relaxed);
    return path;
}

int mmed_path_force(int32_t path) {
    if (path < 0 || path > 2 || !mmed_path_supported(path)) return 0;
    atomic_store_explicit(&chosen, path, memory_order_relaxed);
    return 1;
}

static const struct kernels *table(void) {
#if defined(__x86_64__)
    switch (mmed_path_current()) {
    case 2:
        return &mmed_kernels_avx512;
    case 1:
        return &mmed_kernels_avx2;
    }
#endif
    return &mmed_kernels_portable;
}

void mmed_product_part(const mmed_product *job, ptrdiff_t part) { table()->product_part(job, part); }
void mmed_product_transposed_part(const mmed_product *job, ptrdiff_t part) { table()->product_transposed_part(job, part); }
void mmed_outer_part(const mmed_outer *job, ptrdiff_t part) { table()->outer_part(job, part); }
void mmed_norm_forward(const mmed_norm *job, size_t first, size_t count) { table()->norm_forward(job, first, count); }
void mmed_norm_backward(const mmed_norm *job, size_t first, size_t count) { table()->norm_backward(job, first, count); }
void mmed_add(const float *x, float *y, size_t count, float scale) { table()->add(x, y, count, scale); }
void mmed_exp(const float *x, float *y, size_t count) { table()->exp(x, y, count); }

void mmed_silu_mul(const float *gate, const float *up, float *y, size_t count) { table()->silu_mul(gate, up, y, count); }

void mmed_silu_mul_backward(const float *d, const float *gate, const float *up, float *d_gate, float *d_up, size_t count) {
    table()->silu_mul_backward(d, gate, up, d_gate, d_up, count);
}

void mmed_rope(float *x, size_t heads, size_t head_dim, const float *table_row, float sign) {
    table()->rope(x, heads, head_dim, table_row, sign);
}

void mmed_log_softmax_pick(
    const float *logits, size_t count, size_t id, float inverse_temperature, int want_entropy, float *result) {
    table()->log_softmax_pick(logits, count, id, inverse_temperature, want_entropy, result);
}

void mmed_log_softmax_gradient(
    float *logits, size_t count, size_t id, float inverse_temperature, float log_sum, float coefficient) {
    table()->log_softmax_gradient(logits, count, id, inverse_temperature, log_sum, coefficient);
}

int32_t mmed_argmax(const float *x, size_t count) { return table()->argmax(x, count); }

int32_t mmed_sample(const float *logits, size_t count, float inverse_temperature, double uniform) {
    return table()->sample(logits, count, inverse_temperature, uniform);
}

void mmed_adamw_step(const mmed_adamw *step, const float *gradient, float *p, float *m, float *v, size_t count) {
    table()->adamw_step(step, gradient, p, m, v, count);
}

double mmed_sum_of_squares(const float *x, size_t count) { return table()->sum_of_squares(x, count); }
void mmed_attention_forward_part(const mmed_plan *plan, ptrdiff_t part) { table()->attention_forward_part(plan, part); }
void mmed_attention_score_part(const mmed_plan *plan, ptrdiff_t part) { table()->attention_score_part(plan, part); }
void mmed_attention_key_part(const mmed_plan *plan, ptrdiff_t part) { table()->attention_key_part(plan, part); }
