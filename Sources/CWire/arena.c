#include <stdlib.h>

#include "CWire.h"

/* Blocks are cut from chunks that are chained and freed together. */
struct chunk {
    struct chunk *next;
    size_t padding;
};

struct mmed_arena {
    ProtobufCAllocator allocator;
    struct chunk *chunks;
    uint8_t *free_start;
    size_t free_bytes;
    size_t bytes_left;
    size_t blocks_left;
    size_t chunk_bytes;
};

enum { alignment = 16, first_chunk_bytes = 4096, largest_chunk_bytes = 1 << 20 };

static void *allocator_take(void *arena, size_t bytes) { return mmed_arena_take(arena, bytes); }

static void allocator_free(void *arena, void *block) {
    (void)arena;
    (void)block;
}

mmed_arena *mmed_arena_new(size_t bytes_max, size_t blocks_max) {
    mmed_arena *arena = calloc(1, sizeof *arena);
    if (arena == NULL) return NULL;
    arena->allocator.alloc = allocator_take;
    arena->allocator.free = allocator_free;
    arena->allocator.allocator_data = arena;
    arena->bytes_left = bytes_max;
    arena->blocks_left = blocks_max;
    arena->chunk_bytes = first_chunk_bytes;
    return arena;
}

void mmed_arena_free(mmed_arena *arena) {
    if (arena == NULL) return;
    struct chunk *chunk = arena->chunks;
    while (chunk != NULL) {
        struct chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
    free(arena);
}

void *mmed_arena_take(mmed_arena *arena, size_t bytes) {
    /* The first test keeps the rounding below from overflowing. */
    if (bytes > arena->bytes_left || arena->blocks_left == 0) return NULL;
    size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    if (rounded == 0) rounded = alignment;
    if (rounded > arena->bytes_left) return NULL;
    if (rounded > arena->free_bytes) {
        size_t payload = rounded > arena->chunk_bytes ? rounded : arena->chunk_bytes;
        if (payload > SIZE_MAX - sizeof(struct chunk)) return NULL;
        struct chunk *chunk = malloc(sizeof *chunk + payload);
        if (chunk == NULL) return NULL;
        chunk->next = arena->chunks;
        arena->chunks = chunk;
        arena->free_start = (uint8_t *)(chunk + 1);
        arena->free_bytes = payload;
        if (arena->chunk_bytes < largest_chunk_bytes) arena->chunk_bytes *= 2;
    }
    void *block = arena->free_start;
    arena->free_start += rounded;
    arena->free_bytes -= rounded;
    arena->bytes_left -= rounded;
    arena->blocks_left -= 1;
    return block;
}

ProtobufCAllocator *mmed_arena_allocator(mmed_arena *arena) { return &arena->allocator; }
