import Foundation
import MMedProtocol
import Testing

@testable import MMedStore

/// What was in hand at a crash, by the page that outlives the process.
@Suite struct InHandFileTests {
    private final class Place {
        let path = NSTemporaryDirectory() + "mmed-in-hand-\(UUID().uuidString)"
        init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
        deinit { try? FileManager.default.removeItem(atPath: path) }
    }

    private let place: Place

    init() throws { place = try Place() }

    /// A frame with this payload; the header's sequence number is another for each connection.
    private func frame(_ payload: [UInt8], sequence: UInt8 = 0) -> [UInt8] {
        [UInt8](repeating: sequence, count: Limits.headerBytes) + payload
    }

    private let long = (0..<100).map { UInt8($0) }

    private func key(_ letter: String) throws -> PublicKey {
        try #require(PublicKey(String(repeating: letter, count: 40)))
    }

    /// A process with its page: what it finds, then what it holds, then how it ends.
    private func process(
        holding frame: [UInt8]? = nil, from sender: PublicKey? = nil, at place: InHandPlace = .handling,
        crashes: Bool = false
    ) throws -> (file: InHandFile, findings: InHandFile.Findings) {
        let file = InHandFile()
        let findings = try file.open(folder: self.place.path)
        if let frame { file.hold(file.mark(frame, sender: sender), at: place) }
        if crashes { file.crashFlag?.pointee = 1 }
        return (file, findings)
    }

    private func isPoison(_ file: InHandFile, _ frame: [UInt8], from sender: PublicKey? = nil) throws -> Bool {
        file.isPoison(try #require(file.mark(frame, sender: sender)))
    }

    @Test(arguments: InHandPlace.allCases)
    func afterTwoCrashesTheMessageIsPoisonWhoeverSendsIt(at place: InHandPlace) throws {
        _ = try process(holding: frame(long), at: place, crashes: true)
        let second = try process(holding: frame(long, sequence: 9), at: place, crashes: true)
        #expect(second.findings.suspects.map(\.crashesOfMessage) == [1])
        #expect(second.findings.suspects.map(\.isRefused) == [false])
        #expect(try !isPoison(second.file, frame(long)), "one crash may be chance")
        let third = try process()
        #expect(third.findings.suspects.map(\.crashesOfMessage) == [2])
        #expect(third.findings.suspects.map(\.isRefused) == [true])
        #expect(try isPoison(third.file, frame(long, sequence: 3), from: key("a")))
        #expect(try !isPoison(third.file, frame(long.reversed())))
        // It stays so, and nothing is counted again.
        let fourth = try process()
        #expect(fourth.findings.suspects.isEmpty)
        #expect(try isPoison(fourth.file, frame(long)))
    }

    @Test func aProcessThatWasKilledBlamesNobody() throws {
        for _ in 0..<3 { _ = try process(holding: frame(long)) }
        let last = try process()
        #expect(last.findings.suspects.isEmpty)
        #expect(try !isPoison(last.file, frame(long)))
    }

    @Test func aCrashWithNothingInHandBlamesNobody() throws {
        for _ in 0..<3 {
            let file = try process(holding: frame(long)).file
            file.hold(nil, at: .handling)
            file.crashFlag?.pointee = 1
        }
        #expect(try process().findings.suspects.isEmpty)
    }

    @Test func aKeyWhoseMessagesWereInHandAtTwoCrashesIsKeptOutWithAllItSays() throws {
        let sender = try key("a")
        _ = try process(holding: frame(long), from: sender, crashes: true)
        _ = try process(holding: frame([1, 2, 3]), from: sender, crashes: true)
        let third = try process()
        #expect(third.findings.suspects.map(\.crashesOfSender) == [2])
        #expect(try isPoison(third.file, frame([7]), from: sender))
        #expect(try isPoison(third.file, frame(long.reversed()), from: sender))
        #expect(try !isPoison(third.file, frame(long), from: key("b")), "it was in hand once")
    }

    @Test func aMessageTooShortToBeAnybodysOwnIsRefusedOfNobodyElse() throws {
        for _ in 0..<2 { _ = try process(holding: frame([1, 2]), crashes: true) }
        let third = try process()
        #expect(third.findings.suspects.count == 1)
        #expect(try !isPoison(third.file, frame([1, 2])))
    }

    /// Both places at one crash: each is a suspect, and the same message in both is one.
    @Test func bothPlacesAreSuspects() throws {
        let file = try process(holding: frame(long), at: .decoding).file
        file.hold(file.mark(frame(long.reversed()), sender: nil), at: .handling)
        file.crashFlag?.pointee = 1
        let next = try process(holding: frame(long), at: .decoding)
        #expect(next.findings.suspects.count == 2)
        next.file.hold(next.file.mark(frame(long), sender: nil), at: .handling)
        next.file.crashFlag?.pointee = 1
        #expect(try process().findings.suspects.map(\.crashesOfMessage) == [2])
    }

    @Test func whenTheTableIsFullWhatCrashedLeastGoes() throws {
        for _ in 0..<2 { _ = try process(holding: frame(long), crashes: true) }
        for number in 0..<UInt8(2 * InHandPage.entriesMost) {
            _ = try process(holding: frame([UInt8](repeating: number, count: 20)), crashes: true)
        }
        let last = try process()
        #expect(try isPoison(last.file, frame(long)))
        #expect(InHandPage.entriesMost >= 16)
    }

    @Test(arguments: [0, 1, 100, 8191, 8192, 9000])
    func aDamagedFileBeginsAnewAndSaysSo(size: Int) throws {
        let path = place.path + "/in-hand"
        try Data(repeating: 7, count: size).write(to: URL(fileURLWithPath: path))
        let found = try process(holding: frame(long), crashes: true).findings
        #expect(found.wasDamaged == (size > 0) && found.suspects.isEmpty)
        let next = try process().findings
        #expect(!next.wasDamaged && next.suspects.count == 1)
    }

    @Test func everyBitOfAPayloadCounts() throws {
        let file = try process().file
        var hashes = Set<UInt64>()
        for count in 16...50 {
            let payload = [UInt8](repeating: 0, count: count)
            hashes.insert(try #require(file.mark(frame(payload), sender: nil)).hash)
            for bit in 0..<(8 * count) {
                var changed = payload
                changed[bit / 8] ^= 1 << UInt8(bit % 8)
                hashes.insert(try #require(file.mark(frame(changed), sender: nil)).hash)
            }
        }
        #expect(hashes.count == (16...50).reduce(0) { $0 + 1 + 8 * $1 })
    }

    @Test func withoutAFileNothingIsRemembered() {
        let file = InHandFile()
        #expect(file.mark(frame(long), sender: nil) == nil && file.crashFlag == nil)
        file.hold(nil, at: .handling)
        #expect(!file.isPoison(FrameMark(hash: 1, byteCount: 1, sender: nil)))
    }
}
