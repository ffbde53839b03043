#ifndef CKERNELS_ROWS_H
#define CKERNELS_ROWS_H

#include <stddef.h>
#include <stdint.h>

/* Forward: y = weight x / rms. Backward: y is dX and d is dY. */
typedef struct {
    const float *x;
    size_t x_stride;
    const float *weight;
    float *y;
    size_t y_stride;
    const float *d;
    size_t d_stride;
    float *inverse_rms;
    size_t columns;
    float epsilon;
    int accumulate;
} mmed_norm;

void mmed_norm_forward(const mmed_norm *job, size_t first, size_t count);
void mmed_norm_backward(const mmed_norm *job, size_t first, size_t count);

/* y += scale x */
void mmed_add(const float *x, float *y, size_t count, float scale);
void mmed_silu_mul(const float *gate, const float *up, float *y, size_t count);
void mmed_silu_mul_backward(const float *d, const float *gate, const float *up, float *d_gate, float *d_up, size_t count);

double mmed_power(double base, double exponent);
/* table [positions, 2 count]: cosines, then sines */
void mmed_rope_table(const double *inverse_frequencies, size_t count, size_t positions, float *table);
void mmed_rope(float *x, size_t heads, size_t head_dim, const float *table_row, float sign);

/* result: log-probability of `id`, log of the sum of exponentials, entropy (0 unless wanted) */
void mmed_log_softmax_pick(
    const float *logits, size_t count, size_t id, float inverse_temperature, int want_entropy, float *result);
void mmed_log_softmax_gradient(
    float *logits, size_t count, size_t id, float inverse_temperature, float log_sum, float coefficient);
int32_t mmed_argmax(const float *x, size_t count);
int32_t mmed_sample(const float *logits, size_t count, float inverse_temperature, double uniform);
/* y = e^x, the exponential of every kernel here; y may be x */
void mmed_exp(const float *x, float *y, size_t count);

typedef struct {
    float learning_rate, beta1, beta2, epsilon, weight_decay, gradient_scale, correction1, correction2;
} mmed_adamw;

void mmed_adamw_step(const mmed_adamw *step, const float *gradient, float *p, float *m, float *v, size_t count);
double mmed_sum_of_squares(const float *x, size_t count);

#endif
