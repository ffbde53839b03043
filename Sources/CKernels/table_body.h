/* Everything that is compiled once for each instruction set. */
#include "vector.h"

#include "tile.h"

#include "products_body.h"
#include "rows_body.h"
#include "softmax_body.h"

#include "attention_body.h"

#include "attention_backward_body.h"

const struct kernels TABLE = {
    .product_part = product_part,
    .product_transposed_part = product_transposed_part,
    .outer_part = outer_part,
    .norm_forward = norm_forward,
    .norm_backward = norm_backward,
    .add = add,
    .silu_mul = silu_mul,
    .silu_mul_backward = silu_mul_backward,
    .rope = rope,
    .log_softmax_pick = log_softmax_pick,
    .log_softmax_gradient = log_softmax_gradient,
    .argmax = argmax,
    .sample = sample,
    .exp = exponential,
    .adamw_step = adamw_step,
    .sum_of_squares = sum_of_squares,
    .attention_forward_part = attention_forward_part,
    .attention_score_part = attention_score_part,
    .attention_key_part = attention_key_part,
};
