/* The kernels for AVX-512: eight rows by 48 columns in 24 of its 32 registers. */
#include "attention_plan.h"

#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx,avx2,fma,avx512f,avx512bw,avx512dq,avx512vl"))), apply_to = function)
#define TILE_ROWS 8
#define TABLE mmed_kernels_avx512
#include "table_body.h"
#pragma clang attribute pop
#endif
