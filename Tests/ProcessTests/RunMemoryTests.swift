import Foundation
import Testing

extension Processes {
    /// What a coordinator holds while a run is under way.
    @Suite struct RunMemory {
        /// Adapters of eight megabytes, so that what is kept of each of their versions shows: adapters, their optimizer state and
        /// 100 MB are all that learning may cost (docs/RELIABILITY.md), though many gradients and versions pass through. The
        /// merge's memory depends on the model's matrices; `make bench` prints it for a real one.
        @Test func learningTakesTheAdaptersTheirOptimizerStateAndLittleElse() async throws {
            let lab = try await Lab.shared.value
            let scratch = try Scratch()
            let program = try Program(
                "mmed-coord",
                try lab.arguments(Lab.cluster(), "run", in: scratch) + [
                    "--set", "adapter.rank=1024", "--set", "adapter.alpha=32", "--set", "merge.rank=1024",
                    "--set", "dsa.epochs=2", "--set", "dsa.learningRate=1e-3", "--set", "eval.stages=[merged]",
                ], in: scratch)
            let folder = scratch.path + "/run"
            var peakBytes = 0
            try await eventually("the end of the run", within: 600) {
                let soFar = RunMemory.peakBytes(of: program.processID) ?? 0
                if !text(of: folder + "/progress.log").contains("kind=merge") { peakBytes = max(peakBytes, soFar) }
                return !program.isRunning
            }
            let ended = try await program.end()
            #expect(ended.code == 0, "\(ended)")
            let adapters = try RunResult(folder).adapters.filter {
                $0.key.hasPrefix("adapters/") && $0.key.hasSuffix(".safetensors")
            }.mapValues(\.count)
            // One version of each specialty's adapter, and two moments a weight.
            let oneBytes = try #require(adapters.values.first)
            let adapterBytes = oneBytes * Lab.specialties.count
            let stateBytes = 2 * adapterBytes
            #expect(oneBytes > 8_000_000, "too small to show anything")
            let updates = try ProgressLine.all(folder).filter { $0.event == "update" }
            #expect(updates.count >= 16)
            #expect(peakBytes > 0)
            print(
                "memory of a run while it learns: \(peakBytes) bytes, adapters \(adapterBytes), moments \(stateBytes)")
            #expect(peakBytes <= adapterBytes + stateBytes + 100_000_000, "\(peakBytes) bytes at the most")
        }

        /// Bytes that a process had in memory at its most; nil when it is gone.
        private static func peakBytes(of processID: Int32) -> Int? {
            let line = text(of: "/proc/\(processID)/status").split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
            return line?.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap { Int($0) }.map {
                $0 << 10
            }
        }
    }
}
