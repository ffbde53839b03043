import Foundation
import MMedCore
import Testing

@testable import MMedStore

@Suite struct ScratchFileTests {
    private let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString).path

    init() throws { try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true) }

    @Test func whatIsAppendedCanBeReadAndLeavesNoName() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let file = try ScratchFile(in: folder)
        #expect(file.count == 0)
        try file.append([1, 2, 3])
        try file.append([])
        try file.append([4, 5])
        #expect(file.count == 5)
        #expect(try file.bytes(at: 2, count: 3) == [3, 4, 5])
        #expect(try file.bytes(at: 5, count: 0) == [])
        #expect(throws: MMedError.self) { try file.bytes(at: 4, count: 2) }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder).isEmpty)
    }

    /// A file system without nameless files gives one whose name is gone at once; a name that is taken is passed over.
    @Test func withoutNamelessFilesTheNameIsTakenAway() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try Data([9]).write(to: URL(fileURLWithPath: folder + "/scratch.0.new"))
        let descriptor = ScratchFile.unlinked(in: folder)
        #expect(descriptor >= 0)
        close(descriptor)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["scratch.0.new"])
        #expect(ScratchFile.unlinked(in: folder + "/none") < 0)
    }

    @Test func withoutRoomItSaysSo() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let missing = #expect(throws: MMedError.self) { try ScratchFile(in: folder + "/none") }
        #expect(missing?.kind == .tryAgain)
    }

    @Test func aBlobMadeOfAScratchHasItsBytes() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let run = try RunFolder(path: folder)
        let scratch = try run.scratch()
        // More than one piece, and not a whole number of them.
        let bytes = (0..<(ContentDigest.pieceBytes + 77)).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        try scratch.append(bytes)
        let digest = try run.putBlob([.bytes([7]), .floats([1]), .scratch(scratch)]) { _ in }
        let whole = [7, 0, 0, 0x80, 0x3F] + bytes
        #expect(digest == ContentDigest.of(whole))
        #expect(try run.openBlob(digest).bytes(at: 0, count: whole.count) == whole)
        #expect(try run.openBlob(digest).floats(at: 1, count: 1) == [1])
    }
}
