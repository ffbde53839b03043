import Foundation
import Testing

/// A control group whose processes get next to no new memory: the kernel kills who asks for a page more.
private final class FullMemory {
    private let path: String

    /// Whether this machine lets the process make one.
    static let isPossible = FullMemory() != nil

    /// Nil where no such group can be made, as without the superuser's rights.
    init?() {
        let name = "mmed-test-\(ProcessInfo.processInfo.processIdentifier)-\(UInt32.random(in: 0...UInt32.max))"
        let files = FileManager.default
        for (parent, limit) in [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max"),
        ] {
            let path = parent + "/" + name
            guard (try? files.createDirectory(atPath: path, withIntermediateDirectories: false)) != nil else {
                continue
            }
            if FullMemory.put("65536", into: path + "/" + limit) {
                self.path = path
                return
            }
            rmdir(path)
        }
        return nil
    }

    deinit { rmdir(path) }

    func hold(_ processID: Int32) -> Bool { FullMemory.put("\(processID)", into: path + "/cgroup.procs") }

    private static func put(_ text: String, into path: String) -> Bool {
        let file = open(path, O_WRONLY | O_CLOEXEC)
        guard file >= 0 else { return false }
        defer { close(file) }
        return write(file, text, text.utf8.count) == text.utf8.count
    }
}

extension Processes.FailureTable {
    @Test(.enabled(if: FullMemory.isPossible, "needs the right to make control groups; rows 1 to 3 kill without one"))
    func row11_aCoordinatorWithoutMemoryIsResumed() async throws {
        let run = try await Watched()
        try await run.until("gba/", "event=groups-closed")
        let memory = try #require(FullMemory())
        try #require(memory.hold(run.program.processID))
        #expect(try await run.program.end().code == -SIGKILL)
        withExtendedLifetime(memory) {}
        let again = try await run.resume()
        #expect(again.code == 0, "\(again)")
        try RunResult(run.folder).expectSame(as: try await Lab.unbroken.value)
        try await expectVerified(run.folder, in: run.scratch)
    }

    @Test(
        .enabled(if: FullMemory.isPossible, "needs the right to make control groups; rows 1 to 3 kill without one"),
        arguments: ["rollout-1", "learner-1"])
    func row11_aWorkerWithoutMemoryCostsItsLease(worker: String) async throws {
        let run = try await Watched()
        try await run.until("event=worker-joined worker=\(worker)")
        let id = try #require(run.workerIDs.first { $0.name == worker }?.id)
        let memory = try #require(FullMemory())
        try #require(memory.hold(id))
        try await run.until("event=worker-process worker=\(worker)", "signal 9")
        withExtendedLifetime(memory) {}
        let ended = try await run.program.end()
        #expect(ended.code == 0, "\(ended)")
        try RunResult(run.folder).expectSame(as: try await Lab.unbroken.value)
        try await expectVerified(run.folder, in: run.scratch)
    }
}
