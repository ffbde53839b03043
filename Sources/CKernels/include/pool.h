#ifndef CKERNELS_POOL_H
#define CKERNELS_POOL_H

#include <stddef.h>
#include <stdint.h>

/* A pool of threads that run the parts of one job at a time and sleep between jobs. */
struct mmed_pool;
typedef struct mmed_pool mmed_pool;
typedef void (*mmed_pool_body)(void *context, ptrdiff_t part);

/* `threads` counts the caller of mmed_pool_run; NULL when the system refuses a thread or memory. */
mmed_pool *mmed_pool_create(int32_t threads);
/* No job may be running. */
void mmed_pool_destroy(mmed_pool *pool);
/* Returns when body(0) ... body(parts - 1) have all run. Safe from several threads, and from inside a part (runs in line). */
void mmed_pool_run(mmed_pool *pool, ptrdiff_t parts, mmed_pool_body body, void *context);

#endif
