/* One table of kernels for each instruction set; dispatch.c picks one. */
#ifndef MMED_KERNELS_H
#define MMED_KERNELS_H

#include "CKernels.h"

struct kernels {
    void (*product_part)(const mmed_product *, ptrdiff_t);
    void (*product_transposed_part)(const mmed_product *, ptrdiff_t);
    void (*outer_part)(const mmed_outer *, ptrdiff_t);
    void (*norm_forward)(const mmed_norm *, size_t, size_t);
    void (*norm_backward)(const mmed_norm *, size_t, size_t);
    void (*add)(const float *, float *, size_t, float);
    void (*silu_mul)(const float *, const float *, float *, size_t);
    void (*silu_mul_backward)(const float *, const float *, const float *, float *, float *, size_t);
    void (*rope)(float *, size_t, size_t, const float *, float);
    void (*log_softmax_pick)(const float *, size_t, size_t, float, int, float *);
    void (*log_softmax_gradient)(float *, size_t, size_t, float, float, float);
    int32_t (*argmax)(const float *, size_t);
    int32_t (*sample)(const float *, size_t, float, double);
    void (*exp)(const float *, float *, size_t);
    void (*adamw_step)(const mmed_adamw *, const float *, float *, float *, float *, size_t);
    double (*sum_of_squares)(const float *, size_t);
    void (*attention_forward_part)(const mmed_plan *, ptrdiff_t);
    void (*attention_score_part)(const mmed_plan *, ptrdiff_t);
    void (*attention_key_part)(const mmed_plan *, ptrdiff_t);
};

extern const struct kernels mmed_kernels_portable, mmed_kernels_avx2, mmed_kernels_avx512;

/* Grow-only memory of the calling thread, 64-byte aligned, valid until the thread's next call. Aborts when there is none. */
float *mmed_scratch(size_t floats);
/* A second such memory, for a job that the thread hands out to a pool. */
float *mmed_kept_scratch(size_t floats);

/* How a product is cut: parts of `panels_per_part` panels and `rows_per_part` rows, from the shapes alone. */
struct cut {
    size_t panels, panels_per_part, panel_parts, rows_per_part, row_parts;
};

#define PANEL 48
/* Rows of w that mmed_product_transposed_part turns at a time. */
#define TURNED_ROWS 768

struct cut mmed_product_cut(const mmed_product *job);
struct cut mmed_product_transposed_cut(const mmed_product *job);
struct cut mmed_outer_cut(const mmed_outer *job);

static inline size_t smaller(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t round_up(size_t a, size_t unit) { return (a + unit - 1) / unit * unit; }

#endif
