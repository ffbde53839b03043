#define _GNU_SOURCE
#include "kernels.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* In the 64 bytes before each block: where it came from. */
struct origin {
    void *base;
    size_t mapped; /* bytes to unmap; 0 when it came from calloc */
};

#define HUGE ((size_t)2 << 20)

/* Large blocks ask for huge pages: weights and keys are read in long strides, and small pages would cost a look-up for each. */
static struct origin map_huge(size_t bytes) {
    const size_t length = round_up(bytes + 64, HUGE) + HUGE;
    void *base = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) return (struct origin){NULL, 0};
#if defined(MADV_HUGEPAGE)
    (void)madvise(base, length, MADV_HUGEPAGE); /* a wish; small pages serve as well */
#endif
    return (struct origin){base, length};
}

float *mmed_alloc_zeroed(size_t count) {
    const size_t bytes = round_up(count * sizeof(float), 64);
    struct origin origin = {NULL, 0};
    if (bytes >= 2 * HUGE) {
        origin = map_huge(bytes);
    } else {
        origin.base = calloc(1, bytes + 128);
    }
    if (origin.base == NULL) return NULL;
    char *memory = (char *)origin.base + (64 - (uintptr_t)origin.base % 64) % 64 + 64;
    memcpy(memory - 64, &origin, sizeof origin);
    return (float *)(void *)memory;
}

void mmed_free(float *memory) {
    if (memory == NULL) return;
    struct origin origin;
    memcpy(&origin, (char *)memory - 64, sizeof origin);
    if (origin.mapped > 0) {
        munmap(origin.base, origin.mapped);
    } else {
        free(origin.base);
    }
}

/* Scratch of one thread; freed when the thread ends. */
struct scratch {
    float *memory[2];
    size_t floats[2];
};

static pthread_key_t scratch_key;
static pthread_once_t scratch_once = PTHREAD_ONCE_INIT;

static void scratch_free(void *value) {
    struct scratch *scratch = value;
    free(scratch->memory[0]);
    free(scratch->memory[1]);
    free(scratch);
}

static void scratch_begin(void) {
    if (pthread_key_create(&scratch_key, scratch_free) != 0) abort();
}

static float *scratch_slot(int slot, size_t floats) {
    pthread_once(&scratch_once, scratch_begin);
    struct scratch *scratch = pthread_getspecific(scratch_key);
    if (scratch == NULL) {
        scratch = calloc(1, sizeof *scratch);
        if (scratch == NULL || pthread_setspecific(scratch_key, scratch) != 0) abort();
    }
    if (scratch->floats[slot] < floats) {
        free(scratch->memory[slot]);
        scratch->memory[slot] = NULL;
        scratch->floats[slot] = 0;
        void *memory = NULL;
        if (posix_memalign(&memory, 64, round_up(floats, 1024) * sizeof(float)) != 0) {
            fprintf(stderr, "no memory for %zu floats of kernel scratch\n", floats);
            abort();
        }
        scratch->memory[slot] = memory;
        scratch->floats[slot] = floats;
    }
    return scratch->memory[slot];
}

float *mmed_scratch(size_t floats) { return scratch_slot(0, floats); }
float *mmed_kept_scratch(size_t floats) { return scratch_slot(1, floats); }

double mmed_power(double base, double exponent) { return pow(base, exponent); }

void mmed_rope_table(const double *inverse_frequencies, size_t count, size_t positions, float *table) {
    for (size_t position = 0; position < positions; position++) {
        for (size_t i = 0; i < count; i++) {
            const double angle = (double)position * inverse_frequencies[i];
            table[position * 2 * count + i] = (float)cos(angle);
            table[position * 2 * count + count + i] = (float)sin(angle);
        }
    }
}
