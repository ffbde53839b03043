/* Row-wise kernels: normalisation, activation, rotation, the optimiser. Lanes by column, reduced in one tree. */

static void norm_forward(const mmed_norm *job, size_t first, size_t count) {
    const size_t n = job->columns;
    for (size_t row = first; row < first + count; row++) {
        const float *x = job->x + row * job->x_stride;
        float *y = job->y + row * job->y_stride;
        v16 squares = splat(0);
        for (size_t c = 0; c < n; c += 16) {
            v16 value = load_first(x + c, n - c, 0);
            squares = fma16(value, value, squares);
        }
        const float mean = sum16(squares) / (float)n;
        const float inverse = 1.0f / __builtin_sqrtf(mean + job->epsilon);
        job->inverse_rms[row] = inverse;
        for (size_t c = 0; c < n; c += 16) {
            v16 value = load_first(x + c, n - c, 0) * splat(inverse);
            store_first(y + c, load_first(job->weight + c, n - c, 0) * value, n - c);
        }
    }
}

static void norm_backward(const mmed_norm *job, size_t first, size_t count) {
    const size_t n = job->columns;
    for (size_t row = first; row < first + count; row++) {
        const float *x = job->x + row * job->x_stride, *d = job->d + row * job->d_stride;
        float *y = job->y + row * job->y_stride;
        const float inverse = job->inverse_rms[row];
        v16 dots = splat(0);
        for (size_t c = 0; c < n; c += 16) {
            v16 scaled = load_first(job->weight + c, n - c, 0) * load_first(d + c, n - c, 0);
            dots = fma16(scaled, load_first(x + c, n - c, 0), dots);
        }
        const float pull = sum16(dots) / (float)n * inverse * inverse * inverse;
        for (size_t c = 0; c < n; c += 16) {
            v16 scaled = load_first(job->weight + c, n - c, 0) * load_first(d + c, n - c, 0) * splat(inverse);
            v16 result = fma16(load_first(x + c, n - c, 0), splat(-pull), scaled);
            if (job->accumulate) result = result + load_first(y + c, n - c, 0);
            store_first(y + c, result, n - c);
        }
    }
}

static void add(const float *x, float *y, size_t count, float scale) {
    for (size_t c = 0; c < count; c += 16) {
        store_first(y + c, fma16(splat(scale), load_first(x + c, count - c, 0), load_first(y + c, count - c, 0)), count - c);
    }
}

static void exponential(const float *x, float *y, size_t count) {
    for (size_t c = 0; c < count; c += 16) store_first(y + c, exp16(load_first(x + c, count - c, 0)), count - c);
}

INLINE v16 sigmoid16(v16 x) { return splat(1) / (splat(1) + exp16(-x)); }

static void silu_mul(const float *gate, const float *up, float *y, size_t count) {
    for (size_t c = 0; c < count; c += 16) {
        v16 g = load_first(gate + c, count - c, 0), u = load_first(up + c, count - c, 0);
        store_first(y + c, g * sigmoid16(g) * u, count - c);
    }
}

static void silu_mul_backward(const float *d, const float *gate, const float *up, float *d_gate, float *d_up, size_t count) {
    for (size_t c = 0; c < count; c += 16) {
        v16 g = load_first(gate + c, count - c, 0), u = load_first(up + c, count - c, 0);
        v16 dy = load_first(d + c, count - c, 0), s = sigmoid16(g);
        v16 slope = s * fma16(g, splat(1) - s, splat(1));
        store_first(d_gate + c, dy * u * slope, count - c);
        store_first(d_up + c, dy * (g * s), count - c);
    }
}

static void rope(float *x, size_t heads, size_t head_dim, const float *table_row, float sign) {
    const size_t half = head_dim / 2;
    for (size_t head = 0; head < heads; head++) {
        float *low = x + head * head_dim, *high = low + half;
        for (size_t c = 0; c < half; c += 16) {
            v16 cosine = load_first(table_row + c, half - c, 0);
            v16 sine = load_first(table_row + half + c, half - c, 0) * splat(sign);
            v16 a = load_first(low + c, half - c, 0), b = load_first(high + c, half - c, 0);
            store_first(low + c, fma16(a, cosine, -(b * sine)), half - c);
            store_first(high + c, fma16(b, cosine, a * sine), half - c);
        }
    }
}

static void adamw_step(const mmed_adamw *step, const float *gradient, float *p, float *m, float *v, size_t count) {
    const v16 beta1 = splat(step->beta1), beta2 = splat(step->beta2);
    for (size_t c = 0; c < count; c += 16) {
        const size_t left = count - c;
        v16 g = load_first(gradient + c, left, 0) * splat(step->gradient_scale);
        v16 first = beta1 * load_first(m + c, left, 0) + (splat(1) - beta1) * g;
        v16 second = beta2 * load_first(v + c, left, 0) + (splat(1) - beta2) * (g * g);
        v16 root = __builtin_elementwise_sqrt(second / splat(step->correction2)) + splat(step->epsilon);
        v16 value = load_first(p + c, left, 0);
        v16 move = first / splat(step->correction1) / root + splat(step->weight_decay) * value;
        store_first(m + c, first, left);
        store_first(v + c, second, left);
        store_first(p + c, value - splat(step->learning_rate) * move, left);
    }
}

static double sum_of_squares(const float *x, size_t count) {
    d16 sum = (d16)0.0;
    for (size_t c = 0; c < count; c += 16) {
        d16 value = __builtin_convertvector(load_first(x + c, count - c, 0), d16);
        sum = sum + value * value;
    }
    return sum16d(sum);
}
