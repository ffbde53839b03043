// Tells ThreadSanitizer of Swift's reference counts. Swift's runtime is not instrumented, so the sanitizer does not see that
// giving up a reference happens before whoever holds the last one frees the object, or writes an array in place: it reports
// correct programs. Loaded before the runtime (LD_PRELOAD), these two say so, as an acquiring and releasing counter would.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>

// Absent in programs without the sanitizer, which inherit the environment.
void __tsan_acquire(void *) __attribute__((weak));
void __tsan_release(void *) __attribute__((weak));

static void (*runtime_release)(void *);
static bool (*runtime_is_unique)(void *);

__attribute__((constructor)) static void find(void) {
  runtime_release = (void (*)(void *))dlsym(RTLD_NEXT, "swift_release");
  runtime_is_unique = (bool (*)(void *))dlsym(RTLD_NEXT, "swift_isUniquelyReferenced_nonNull_native");
}

void swift_release(void *object) {
  if (!runtime_release) find();
  if (object && __tsan_release && __tsan_acquire) {
    __tsan_release(object);
    __tsan_acquire(object);
  }
  runtime_release(object);
}

bool swift_isUniquelyReferenced_nonNull_native(void *object) {
  if (!runtime_is_unique) find();
  bool is_unique = runtime_is_unique(object);
  if (is_unique && __tsan_acquire) __tsan_acquire(object);
  return is_unique;
}
