import Foundation
import MMedCore
import Testing

@testable import MMedAssembly

private struct Line: Decodable, Equatable {
    var a: Int
}

extension JSONLinesTests {
    /// `--input <(program)` is a pipe, which has no size before it is read.
    @Test func aPipeIsReadToItsEnd() throws {
        let scratch = try Scratch()
        let path = scratch.path + "/pipe"
        try #require(mkfifo(path, 0o600) == 0)
        let writer = Thread {
            guard let handle = FileHandle(forWritingAtPath: path) else { return }
            try? handle.write(contentsOf: Data("{\"a\": 1}\n{\"a\": 2}\n".utf8))
            try? handle.close()
        }
        writer.start()
        #expect(try JSONLines.read(path, as: Line.self) == [Line(a: 1), Line(a: 2)])
    }

    @Test func nothingToReadIsTold() throws {
        expectError(.badData, "/dev/null", "there is no line") { _ = try JSONLines.read("/dev/null", as: Line.self) }
        let scratch = try Scratch()
        expectError(.badData, "cannot be read") { _ = try JSONLines.read(scratch.path, as: Line.self) }
        expectError(.badData, "cannot be read") { _ = try JSONLines.read(scratch.path + "/none", as: Line.self) }
    }
}
