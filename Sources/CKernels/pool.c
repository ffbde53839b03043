#include "pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#if defined(__x86_64__)
#define RELAX() __builtin_ia32_pause()
#else
#define RELAX() ((void)0)
#endif

/* How long a thread looks for work, or for the end of the others' work, before it sleeps. */
#define SPIN_NANOSECONDS 30000

struct mmed_pool {
    pthread_mutex_t one_job; /* held by the caller of run */
    pthread_mutex_t mutex;   /* of the two conditions */
    pthread_cond_t work, done;
    /* Parts not yet claimed. A claim lowers it by compare-and-swap from a number above zero, and a job cannot end before a claimed
     * part does: so whoever claimed may read the fields of the job below, which change only between jobs. */
    _Atomic ptrdiff_t unclaimed;
    _Atomic ptrdiff_t unfinished;
    _Atomic int32_t sleepers;
    _Atomic int32_t caller_sleeps;
    _Atomic int32_t stop;
    ptrdiff_t parts;
    mmed_pool_body body;
    void *context;
    int32_t workers;
    pthread_t *threads;
};

/* Set while a thread runs a part: a job begun there runs in line. */
static _Thread_local int inside_part;

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void work_while_parts_are_left(mmed_pool *pool) {
    ptrdiff_t left = atomic_load(&pool->unclaimed);
    while (left > 0) {
        if (!atomic_compare_exchange_weak(&pool->unclaimed, &left, left - 1)) continue;
        inside_part = 1;
        pool->body(pool->context, pool->parts - left);
        inside_part = 0;
        if (atomic_fetch_sub(&pool->unfinished, 1) == 1 && atomic_load(&pool->caller_sleeps)) {
            pthread_mutex_lock(&pool->mutex);
            pthread_cond_broadcast(&pool->done);
            pthread_mutex_unlock(&pool->mutex);
        }
        left = atomic_load(&pool->unclaimed);
    }
}

/* True as soon as *value is zero (or, with `wanted`, above zero), false when the time is up. */
static int spin_until(_Atomic ptrdiff_t *value, int wanted, const _Atomic int32_t *stop) {
    const int64_t end = now() + SPIN_NANOSECONDS;
    do {
        for (int i = 0; i < 32; i++) {
            if ((atomic_load(value) > 0) == wanted || (stop != NULL && atomic_load(stop))) return 1;
            RELAX();
        }
    } while (now() < end);
    return 0;
}

static void *worker_main(void *argument) {
    mmed_pool *pool = argument;
    while (!atomic_load(&pool->stop)) {
        if (spin_until(&pool->unclaimed, 1, &pool->stop)) {
            work_while_parts_are_left(pool);
            continue;
        }
        pthread_mutex_lock(&pool->mutex);
        /* Announced before the last look, as the caller offers parts before it looks for sleepers: one of the two sees the other. */
        atomic_fetch_add(&pool->sleepers, 1);
        while (atomic_load(&pool->unclaimed) <= 0 && !atomic_load(&pool->stop)) {
            pthread_cond_wait(&pool->work, &pool->mutex);
        }
        atomic_fetch_sub(&pool->sleepers, 1);
        pthread_mutex_unlock(&pool->mutex);
    }
    return NULL;
}

void mmed_pool_run(mmed_pool *pool, ptrdiff_t parts, mmed_pool_body body, void *context) {
    if (parts <= 0) return;
    if (parts == 1 || inside_part || pool->workers == 0) {
        for (ptrdiff_t part = 0; part < parts; part++) body(context, part);
        return;
    }
    pthread_mutex_lock(&pool->one_job);
    pool->parts = parts;
    pool->body = body;
    pool->context = context;
    atomic_store(&pool->unfinished, parts);
    atomic_store(&pool->unclaimed, parts);
    if (atomic_load(&pool->sleepers) > 0) {
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_broadcast(&pool->work);
        pthread_mutex_unlock(&pool->mutex);
    }
    work_while_parts_are_left(pool);
    if (!spin_until(&pool->unfinished, 0, NULL)) {
        pthread_mutex_lock(&pool->mutex);
        atomic_store(&pool->caller_sleeps, 1);
        while (atomic_load(&pool->unfinished) > 0) pthread_cond_wait(&pool->done, &pool->mutex);
        atomic_store(&pool->caller_sleeps, 0);
        pthread_mutex_unlock(&pool->mutex);
    }
    pthread_mutex_unlock(&pool->one_job);
}

mmed_pool *mmed_pool_create(int32_t threads) {
    mmed_pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL) return NULL;
    pthread_mutex_init(&pool->one_job, NULL);
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->done, NULL);
    pool->threads = calloc(threads > 1 ? (size_t)threads : 1, sizeof *pool->threads);
    for (int32_t i = 1; pool->threads != NULL && i < threads; i++) {
        if (pthread_create(&pool->threads[pool->workers], NULL, worker_main, pool) != 0) break;
        pool->workers += 1;
    }
    if (pool->threads == NULL || pool->workers != (threads > 1 ? threads - 1 : 0)) {
        mmed_pool_destroy(pool);
        return NULL;
    }
    return pool;
}

void mmed_pool_destroy(mmed_pool *pool) {
    if (pool == NULL) return;
    atomic_store(&pool->stop, 1);
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
    for (int32_t i = 0; i < pool->workers; i++) pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->done);
    pthread_mutex_destroy(&pool->mutex);
    pthread_mutex_destroy(&pool->one_job);
    free(pool->threads);
    free(pool);
}
