/* Rows of logits. Sums run in sixteen lanes by column; every 1,024 columns they move to Double, so long rows stay exact. */

#define BLOCK 1024

/* The largest of scale * x. */
static float row_largest(const float *x, size_t count, float scale) {
    v16 best = splat(-__builtin_inff());
    for (size_t c = 0; c < count; c += 16) {
        best = max16(keep_first(load_first(x + c, count - c, 0) * splat(scale), smaller(count - c, 16), -__builtin_inff()), best);
    }
    return largest16(best);
}

/* The sum of exp(scale x - largest), and in *weighted that of exp(scale x - largest) (scale x - largest). */
static double row_sum(const float *x, size_t count, float scale, float largest, double *weighted) {
    d16 total = (d16)0.0, weighted_total = (d16)0.0;
    for (size_t first = 0; first < count; first += BLOCK) {
        v16 sum = splat(0), weighted_sum = splat(0);
        const size_t last = smaller(first + BLOCK, count);
        for (size_t c = first; c < last; c += 16) {
            v16 shifted = load_first(x + c, last - c, 0) * splat(scale) - splat(largest);
            v16 e = keep_first(exp16(shifted), smaller(last - c, 16), 0);
            sum = sum + e;
            /* an excluded id (minus infinity) weighs nothing */
            if (weighted) weighted_sum = weighted_sum + (e > splat(0) ? e * shifted : splat(0));
        }
        total = total + __builtin_convertvector(sum, d16);
        weighted_total = weighted_total + __builtin_convertvector(weighted_sum, d16);
    }
    if (weighted) *weighted = sum16d(weighted_total);
    return sum16d(total);
}

/* ln x for positive, normal x: x = m 2^e with m in [0.71, 1.42), ln m = 2 atanh((m - 1) / (m + 1)). The same on every path, which
 * a library's logarithm need not be. */
static double natural_log(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int exponent = (int)(bits >> 52 & 0x7ff) - 1023;
    bits = (bits & 0xfffffffffffffull) | 0x3ff0000000000000ull;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 1.4142135623730951) {
        m = m * 0.5;
        exponent += 1;
    }
    const double t = (m - 1) / (m + 1), square = t * t;
    double series = 0;
    for (int power = 21; power >= 1; power -= 2) series = series * square + 1.0 / power;
    return (double)exponent * 0.6931471805599453 + 2 * t * series;
}

static void log_softmax_pick(const float *logits, size_t count, size_t id, float inverse_temperature, int want_entropy,
                             float *result) {
    const float largest = row_largest(logits, count, inverse_temperature);
    double weighted = 0;
    const double sum = row_sum(logits, count, inverse_temperature, largest, want_entropy ? &weighted : NULL);
    const double log_sum = natural_log(sum);
    const float picked = logits[id] * inverse_temperature;
    result[0] = (float)((double)(picked - largest) - log_sum);
    result[1] = (float)((double)largest + log_sum);
    result[2] = want_entropy ? (float)(log_sum - weighted / sum) : 0;
}

static void log_softmax_gradient(float *logits, size_t count, size_t id, float inverse_temperature, float log_sum,
                                 float coefficient) {
    const float factor = coefficient * inverse_temperature;
    for (size_t c = 0; c < count; c += 16) {
        v16 shifted = load_first(logits + c, count - c, 0) * splat(inverse_temperature) - splat(log_sum);
        store_first(logits + c, exp16(shifted) * splat(factor), count - c);
    }
    logits[id] = logits[id] - factor;
}

static int32_t argmax(const float *x, size_t count) {
    v16 best = splat(-__builtin_inff());
    i16 place = (i16)0;
    for (size_t c = 0; c < count; c += 16) {
        v16 value = load_first(x + c, count - c, -__builtin_inff());
        i16 larger = value > best;
        best = larger ? value : best;
        place = larger ? lanes16() + (i16)(int32_t)c : place;
    }
    float values[16];
    int32_t places[16];
    store16(values, best);
    memcpy(places, &place, sizeof places);
    int winner = 0;
    for (int i = 1; i < 16; i++) {
        if (values[i] > values[winner] || (values[i] == values[winner] && places[i] < places[winner])) winner = i;
    }
    return places[winner];
}

/* Among columns first ... last: where the running sum from `passed` on exceeds `target`; the last column of any weight otherwise. */
static int32_t walk(const float *logits, size_t first, size_t last, float scale, float largest, double passed, double target) {
    size_t possible = first;
    for (size_t c = first; c < last; c += 16) {
        const size_t left = smaller(last - c, 16);
        float e[16];
        store16(e, keep_first(exp16(load_first(logits + c, left, 0) * splat(scale) - splat(largest)), left, 0));
        for (size_t i = 0; i < left; i++) {
            if (e[i] > 0) possible = c + i;
            passed += (double)e[i];
            if (passed > target) return (int32_t)possible;
        }
    }
    return (int32_t)possible;
}

/* Two levels: whole blocks first, then the columns of one block. */
static int32_t sample(const float *logits, size_t count, float inverse_temperature, double uniform) {
    const float largest = row_largest(logits, count, inverse_temperature);
    const size_t blocks = (count + BLOCK - 1) / BLOCK;
    double *sums = (double *)(void *)mmed_scratch(2 * blocks), total = 0;
    for (size_t b = 0; b < blocks; b++) {
        const size_t first = b * BLOCK;
        sums[b] = row_sum(logits + first, smaller(BLOCK, count - first), inverse_temperature, largest, NULL);
        total += sums[b];
    }
    const double target = uniform * total;
    double passed = 0, before = 0;
    size_t chosen = 0;
    for (size_t b = 0; b < blocks && passed <= target; b++) {
        if (sums[b] <= 0) continue;
        chosen = b;
        before = passed;
        passed += sums[b];
    }
    const size_t first = chosen * BLOCK;
    return walk(logits, first, smaller(first + BLOCK, count), inverse_temperature, largest, before, target);
}
