import Foundation
import Testing

@testable import MMedAssembly

/// How a program ended, and what it said.
struct Ended: CustomStringConvertible {
    var command: String
    /// The exit code; minus the signal's number when a signal ended it.
    var code: Int32
    var output: String
    var errors: String

    var description: String { "\(command)\nended with \(code)\nstdout: \(output)\nstderr: \(errors)" }
}

/// The top folder of this repository.
let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().path

/// One process of a test. What it prints goes to files, so that a full pipe never holds it up.
final class Program {
    private let process: ChildProcess
    private let command: String
    private let outputPath: String
    private let errorsPath: String

    /// Starts a program that the build put beside the tests, or one of another folder.
    init(
        _ name: String, _ arguments: [String], in scratch: Scratch, input: String = "", folder: String? = nil,
        environment: [String: String] = [:]
    ) throws {
        let number = scratch.next()
        outputPath = scratch.path + "/\(number).out"
        errorsPath = scratch.path + "/\(number).err"
        let inputPath = try scratch.write("\(number).in", input)
        command = ([name] + arguments).joined(separator: " ")
        let place = try folder ?? Program.folder()
        let files = [
            open(inputPath, O_RDONLY | O_CLOEXEC),
            open(outputPath, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644),
            open(errorsPath, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644),
        ]
        defer { for file in files { close(file) } }
        process = try ChildProcess(
            place + "/" + name, arguments,
            environment: ProcessInfo.processInfo.environment.merging(environment) { $1 }, folder: scratch.path,
            input: files[0], output: files[1], errors: files[2])
    }

    deinit { process.signal(SIGKILL) }

    /// Where the build put the programs: beside the file of this process.
    static func folder() throws -> String {
        let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let folder = URL(fileURLWithPath: own).deletingLastPathComponent().path
        for name in ["mmed-coord", "mmed-worker"] {
            try #require(
                FileManager.default.isExecutableFile(atPath: folder + "/" + name),
                "\(name) is not in \(folder); build it with the tests: swift build --build-tests")
        }
        return folder
    }

    var output: String { text(of: outputPath) }
    var errors: String { text(of: errorsPath) }
    var isRunning: Bool { process.end == nil }
    var processID: Int32 { process.id }
    /// The exit code, or minus the signal's number; nil while it runs.
    var code: Int32? {
        switch process.end {
        case nil: nil
        case .exit(let code)?: code
        case .signal(let number)?: -number
        }
    }
    /// True while a SIGSTOP holds it.
    var isStopped: Bool { text(of: "/proc/\(processID)/stat").contains(") T ") }

    func signal(_ number: Int32) { process.signal(number) }

    /// Waits for the end; a process that does not end in time is killed and the test fails.
    func end(within seconds: Double = 300, sourceLocation: SourceLocation = #_sourceLocation) async throws -> Ended {
        do {
            try await eventually("the end of \(command)", within: seconds, sourceLocation: sourceLocation) {
                !isRunning
            }
        } catch {
            process.signal(SIGKILL)
            throw Failure("\(error)\nstdout: \(output)\nstderr: \(errors)")
        }
        guard let code else { throw Failure("\(command) has ended without a code") }
        return Ended(command: command, code: code, output: output, errors: errors)
    }
}

/// Why a test cannot go on.
struct Failure: Error, CustomStringConvertible {
    var description: String

    init(_ description: String) { self.description = description }
}

/// Looks again and again until the condition holds; the time is a bound, never what is tested.
func eventually(
    _ what: String, within seconds: Double = 180, sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: () throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + .seconds(seconds)
    while try !condition() {
        guard ContinuousClock.now < deadline else {
            Issue.record("waited \(seconds) s in vain for \(what)", sourceLocation: sourceLocation)
            throw Failure("waited \(seconds) s in vain for \(what)")
        }
        try await Task.sleep(for: .milliseconds(5))
    }
}

func text(of path: String) -> String {
    String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self)
}

/// A folder of a test's own, removed at the end.
final class Scratch {
    let path: String
    private var count = 0
    /// A failure is looked at later.
    var isKept = false

    init() throws {
        path = NSTemporaryDirectory() + "/mmed-process-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { if !isKept { try? FileManager.default.removeItem(atPath: path) } }

    func next() -> Int {
        count += 1
        return count
    }

    @discardableResult
    func write(_ name: String, _ text: String) throws -> String {
        let path = path + "/" + name
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        return path
    }
}

/// Runs `mmed-coord` to its end.
func coordinator(
    _ arguments: [String], in scratch: Scratch, input: String = "", sourceLocation: SourceLocation = #_sourceLocation
) async throws -> Ended {
    try await Program("mmed-coord", arguments, in: scratch, input: input).end(sourceLocation: sourceLocation)
}
