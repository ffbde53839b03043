import Foundation
import MMedCore
import Testing

@testable import MMedStore

@Suite struct ScratchFileTests {
    private let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString).path

    init() throws { try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true) }

    /// What a disk does that loses a block; twice is as if nothing had been.
    private func damage(_ file: ScratchFile, at offset: Int) {
        var byte: UInt8 = 0
        pread(file.descriptor, &byte, 1, off_t(offset))
        byte ^= 1
        pwrite(file.descriptor, &byte, 1, off_t(offset))
    }

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

    /// Pieces of any size, from any place, over the edges of what is checked together.
    @Test func whatTheDiskGivesBackIsHeldAgainstWhatWasWritten() throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let file = try ScratchFile(in: folder)
        let size = ScratchFile.blockBytes
        let bytes = (0..<(2 * size + 100)).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 9) }
        var done = 0
        for count in [1, size - 1, size + 30, 70] {
            try file.append(Array(bytes[done..<done + count]))
            done += count
        }
        #expect(done == bytes.count)
        for (start, end) in [(0, bytes.count), (size - 1, size + 1), (size, 2 * size), (2 * size + 10, bytes.count)] {
            #expect(try file.bytes(at: start, count: end - start) == Array(bytes[start..<end]))
        }
        damage(file, at: size + 5)
        #expect(try file.bytes(at: 0, count: size) == Array(bytes[..<size]))
        let error = try #require(throws: MMedError.self) { try file.bytes(at: size + 100, count: 1) }
        #expect(error.kind == .tryAgain && error.problem.contains("other bytes"), "\(error)")
        damage(file, at: size + 5)
        #expect(try file.bytes(at: size + 5, count: 1) == [bytes[size + 5]])
        damage(file, at: bytes.count - 1)
        #expect(throws: MMedError.self) { try file.bytes(at: 2 * size, count: 1) }
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
