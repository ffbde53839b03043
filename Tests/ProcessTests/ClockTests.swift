import Foundation
import Testing

extension Processes.FailureTable {
    /// Every twentieth look at the wall clock finds it ten years from where it was, in the coordinator and in each worker.
    @Test func row07_aWallClockThatLeapsByYearsChangesNothing() async throws {
        let scratch = try Scratch()
        let library = scratch.path + "/leap.so"
        let source = try scratch.write("leap.c", leapingClock)
        let compiled = try await Program(
            "env", ["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], in: scratch, folder: "/usr/bin"
        ).end()
        try #require(compiled.code == 0, "\(compiled)")
        let run = try await Watched(environment: ["LD_PRELOAD": library])
        let ended = try await run.program.end()
        #expect(ended.code == 0, "\(ended)")
        // The lines bear the clock's years, so it did leap.
        #expect(Set(run.lines.map { $0.prefix(4) }).count == 3, "\(Set(run.lines.map { $0.prefix(4) }))")
        for line in run.lines {
            #expect(
                !["lease-expired", "worker-silent", "no-workers"].contains { line.contains("event=\($0)") }, "\(line)")
        }
        try RunResult(run.folder).expectSame(as: try await Lab.unbroken.value)
        try await expectVerified(run.folder, in: run.scratch)
    }
}

/// A wall clock that leaps; monotonic clocks stay as they are.
private let leapingClock = """
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <stdatomic.h>
    #include <sys/time.h>
    #include <time.h>
    static atomic_long looks;
    static long leap(void) { return (atomic_fetch_add(&looks, 1) / 20 % 3 - 1) * 315360000L; }
    int clock_gettime(clockid_t clock, struct timespec *now) {
        static int (*next)(clockid_t, struct timespec *);
        if (!next) next = dlsym(RTLD_NEXT, "clock_gettime");
        int result = next(clock, now);
        if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) now->tv_sec += leap();
        return result;
    }
    int gettimeofday(struct timeval *now, void *zone) {
        static int (*next)(struct timeval *, void *);
        if (!next) next = dlsym(RTLD_NEXT, "gettimeofday");
        int result = next(now, zone);
        now->tv_sec += leap();
        return result;
    }
    time_t time(time_t *out) {
        struct timeval now;
        gettimeofday(&now, 0);
        if (out) *out = now.tv_sec;
        return now.tv_sec;
    }
    """
