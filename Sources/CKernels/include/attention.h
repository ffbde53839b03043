#ifndef CKERNELS_ATTENTION_H
#define CKERNELS_ATTENTION_H

#include <stddef.h>

/* Rows [count, kv_heads * head_dim] of consecutive positions; the gradients are NULL in a forward pass. */
typedef struct {
    const float *keys, *values;
    float *d_keys, *d_values;
    size_t key_stride, value_stride, d_key_stride, d_value_stride;
    size_t count;
} mmed_segment;

/* Queries at positions start, start + 1, ...; `out` is the output, or dQ in a backward pass, where `d` is dOut. */
typedef struct {
    const float *q;
    size_t q_stride;
    float *out;
    size_t out_stride;
    const float *d;
    size_t d_stride;
    size_t queries, start;
    const mmed_segment *segments;
    size_t segment_count;
} mmed_run;

typedef struct {
    const mmed_run *runs;
    size_t run_count;
    size_t heads, kv_heads, head_dim;
    float scale;
} mmed_attention;

struct mmed_plan;
typedef struct mmed_plan mmed_plan;

/* NULL when there is no memory. The job and all it points to must outlive the plan. */
mmed_plan *mmed_attention_plan(const mmed_attention *job);
void mmed_attention_plan_free(mmed_plan *plan);

ptrdiff_t mmed_attention_forward_parts(const mmed_plan *plan);
void mmed_attention_forward_part(const mmed_plan *plan, ptrdiff_t part);

/* The backward pass works through chunks of queries: all score parts of a chunk, then all key parts. 0 when done. */
int mmed_attention_next_chunk(mmed_plan *plan);
ptrdiff_t mmed_attention_score_parts(const mmed_plan *plan);
void mmed_attention_score_part(const mmed_plan *plan, ptrdiff_t part);
ptrdiff_t mmed_attention_key_parts(const mmed_plan *plan);
void mmed_attention_key_part(const mmed_plan *plan, ptrdiff_t part);

#endif
