import Foundation
import MMedCore
import Testing

@testable import MMedAssembly

@Suite struct ChildProcessTests {
    private func end(of child: ChildProcess) -> ChildProcess.End {
        while true {
            if let end = child.end { return end }
            usleep(1_000)
        }
    }

    /// A child that inherits a descriptor would keep a lock or a socket alive after this process has died.
    @Test func itInheritsThreeDescriptorsAndNoSignals() throws {
        let scratch = try Scratch()
        let stray = open("/dev/null", O_RDONLY)
        let output = open(scratch.path + "/out", O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
        let nothing = open("/dev/null", O_RDONLY | O_CLOEXEC)
        defer { for file in [stray, output, nothing] { close(file) } }
        let child = try ChildProcess(
            "/bin/sh", ["-c", "ls /proc/$$/fd; pwd; echo $SAID; grep SigIgn /proc/$$/status"],
            environment: ["SAID": "a word", "PATH": "/bin:/usr/bin"], folder: scratch.path, input: nothing,
            output: output, errors: output)
        #expect(end(of: child) == .exit(0))
        let said = try String(contentsOfFile: scratch.path + "/out", encoding: .utf8).split(separator: "\n")
        #expect(said.prefix(3) == ["0", "1", "2"], "\(said)")
        let folder = URL(fileURLWithPath: scratch.path).resolvingSymlinksInPath().path
        #expect(said.dropFirst(3).prefix(2) == [Substring(folder), "a word"], "\(said)")
        // The C library ignores two signals of its own, 32 and 33, while it starts a child.
        let ignored = said.last.flatMap { UInt64($0.split(separator: "\t").last ?? "", radix: 16) }
        #expect(ignored.map { $0 & 0x7fff_ffff } == 0, "\(said)")
    }

    @Test func itsEndIsToldOnce() throws {
        let nothing = open("/dev/null", O_RDWR | O_CLOEXEC)
        defer { close(nothing) }
        func start(_ command: String) throws -> ChildProcess {
            try ChildProcess("/bin/sh", ["-c", command], input: nothing, output: nothing, errors: nothing)
        }
        #expect(end(of: try start("exit 7")) == .exit(7))
        let waiting = try start("exec cat /dev/zero > /dev/null")
        #expect(waiting.end == nil)
        waiting.signal(SIGKILL)
        #expect(end(of: waiting) == .signal(SIGKILL))
        // Its number may be another's now.
        waiting.signal(SIGKILL)
    }

    @Test func aProgramThatIsNotThereIsNamed() throws {
        let error = #expect(throws: MMedError.self) {
            try ChildProcess("/nowhere/mmed-worker", [], input: 0, output: 1, errors: 2)
        }
        #expect(error.map { "\($0)" }?.contains("/nowhere/mmed-worker") == true)
    }
}
