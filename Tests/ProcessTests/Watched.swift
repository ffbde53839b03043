import Foundation
import Testing

/// A run under way, watched through its progress.log.
struct Watched {
    let scratch: Scratch
    let program: Program
    var folder: String { scratch.path + "/run" }

    init(
        _ cluster: String = Lab.cluster(), _ more: [String] = [], environment: [String: String] = [:]
    ) async throws {
        scratch = try Scratch()
        let arguments = try await Lab.shared.value.arguments(cluster, "run", in: scratch)
        program = try Program("mmed-coord", arguments + more, in: scratch, environment: environment)
    }

    /// The same with a command before it, such as a tracer.
    init(through wrapper: [String], environment: [String: String] = [:]) async throws {
        scratch = try Scratch()
        let arguments = try await Lab.shared.value.arguments(Lab.cluster(), "run", in: scratch)
        let command = wrapper + [try Program.folder() + "/mmed-coord"] + arguments
        program = try Program(
            "env", command, in: scratch, folder: "/usr/bin", environment: environment)
    }

    var lines: [Substring] { text(of: folder + "/progress.log").split(separator: "\n") }

    /// Waits until a line with all these words is there, as long as the program lives.
    func until(
        _ words: String..., by second: Program? = nil, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        try await until(words, by: second, sourceLocation: sourceLocation)
    }

    func until(
        _ words: [String], by second: Program? = nil, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let program = second ?? program
        try await eventually("progress.log: \(words)", sourceLocation: sourceLocation) {
            let isOver = !program.isRunning
            if lines.contains(where: { line in words.allSatisfy { line.contains($0) } }) { return true }
            if isOver { throw Failure("the program ended before \(words) was logged: \(program.errors)") }
            return false
        }
    }

    /// The process ids of the workers that have joined.
    var workerIDs: [(name: String, id: Int32)] {
        lines.compactMap { ProgressLine($0) }.filter { $0.event == "worker-joined" }.compactMap { line in
            guard let name = line.values["worker"], let id = line.values["pid"].flatMap({ Int32($0) }) else {
                return nil
            }
            return (name, id)
        }
    }

    func resume(sourceLocation: SourceLocation = #_sourceLocation) async throws -> Ended {
        try await coordinator(["start", "--resume", folder], in: scratch, sourceLocation: sourceLocation)
    }
}

func isAlive(_ processID: Int32) -> Bool {
    // A process that has ended but was not waited for still has an entry, in state Z.
    guard let status = FileManager.default.contents(atPath: "/proc/\(processID)/stat") else { return false }
    return !String(decoding: status, as: UTF8.self).contains(") Z ")
}
