import Foundation
import MMedCore
public import MMedProtocol
import Synchronization

/// The page of the run folder that says which message the coordinator has in hand: two plain stores for each message and no
/// system call, since what a process wrote into a shared mapping outlives the process. A crash is told from a kill by a flag that
/// the handler of the crash sets; what was in hand then is a suspect, and after two crashes it is refused unread.
/// Proof of `@unchecked Sendable`: `keys` and `poison` are written before `base` is published with a release, and read after it
/// was acquired; each place of the page has one writer (`InHandPort`).
public final class InHandFile: InHandPort, @unchecked Sendable {
    /// What was in hand at a crash.
    public struct Suspect: Hashable, Sendable {
        /// The message and its sender.
        public let mark: FrameMark
        /// Crashes that met the message, whoever sent it, and crashes that met any message of the sender.
        public let crashesOfMessage: Int, crashesOfSender: Int
        /// True when it will be refused from now on.
        public let isRefused: Bool
    }

    /// What the file told when it was opened.
    public struct Findings: Sendable {
        /// Each message once, whatever places it was in.
        public var suspects: [Suspect] = []
        /// The file was damaged and begins anew: what it knew is forgotten.
        public var wasDamaged = false
    }

    /// So many crashes with it in hand, and a message or a sender is refused. One may be chance.
    public static let crashesMost = 2

    private let base = Atomic<UnsafeMutableRawPointer?>(nil)
    private var keys: (UInt64, UInt64) = (0, 0)
    private var poison = Set<FrameMark>()
    private var senders = Set<PublicKey>()

    /// A record without a file: nothing is remembered until `open`.
    public init() {}

    /// Opens the page of a run folder or makes one, counts what a crash left in hand, and records from now on. Throws `tryAgain`
    /// when the disk refuses. The page stays mapped to the end of the process, since the handler of a crash may need it any time.
    public func open(folder: String) throws -> Findings {
        let path = folder + "/in-hand"
        let (page, isNew, wasDamaged) = try InHandPage.map(path)
        var findings = Findings(wasDamaged: wasDamaged)
        if !isNew {
            let found = page.crashed ? InHandPlace.allCases.compactMap { page.mark(at: $0) } : []
            // In this order: a kill in between forgets one crash, and accuses nobody of a crash that was none.
            page.clear()
            for mark in Set(found) { page.count(mark) }
            try page.synchronise(path)
            let entries = page.entries
            findings.suspects = Set(found).sorted { $0.hash < $1.hash }.map { InHandFile.suspect($0, entries) }
            let known = entries.map { InHandFile.suspect($0.mark, entries) }
            poison = Set(
                known.filter { $0.crashesOfMessage >= InHandFile.crashesMost }
                    .map { FrameMark(hash: $0.mark.hash, byteCount: $0.mark.byteCount, sender: nil) })
            senders = Set(
                known.filter { $0.crashesOfSender >= InHandFile.crashesMost }.compactMap(\.mark.sender))
        }
        keys = page.keys
        base.store(page.base, ordering: .releasing)
        return findings
    }

    /// The word that the handler of a crash sets to 1; nil before `open`.
    package var crashFlag: UnsafeMutablePointer<UInt32>? {
        base.load(ordering: .acquiring).map { InHandPage(base: $0).crashFlag }
    }

    private static func suspect(_ mark: FrameMark, _ entries: [InHandPage.Entry]) -> Suspect {
        let message = entries.filter {
            mark.hash != 0 && $0.mark.hash == mark.hash && $0.mark.byteCount == mark.byteCount
        }
        let sender = entries.filter { mark.sender != nil && $0.mark.sender == mark.sender }
        let (byMessage, bySender) = (message.reduce(0) { $0 + $1.crashes }, sender.reduce(0) { $0 + $1.crashes })
        return Suspect(
            mark: mark, crashesOfMessage: byMessage, crashesOfSender: bySender,
            isRefused: max(byMessage, bySender) >= crashesMost)
    }

    // MARK: InHandPort

    /// Hashes the payload, at several gigabytes a second; the header counts its connection's messages and is left out.
    public func mark(_ frame: [UInt8], sender: PublicKey?) -> FrameMark? {
        guard base.load(ordering: .acquiring) != nil else { return nil }
        let count = max(0, frame.count - Limits.headerBytes)
        // Every worker sends the same few bytes for "nothing new".
        guard count >= 16 else { return FrameMark(hash: 0, byteCount: count, sender: sender) }
        let hash = frame.withUnsafeBytes { PayloadHash.of($0.dropFirst(Limits.headerBytes), keys) }
        return FrameMark(hash: max(1, hash), byteCount: count, sender: sender)
    }

    /// True for a message, or any message of a sender, that was in hand at two crashes.
    public func isPoison(_ mark: FrameMark) -> Bool {
        guard base.load(ordering: .acquiring) != nil else { return false }
        if let sender = mark.sender, senders.contains(sender) { return true }
        return mark.hash != 0 && !poison.isEmpty
            && poison.contains(FrameMark(hash: mark.hash, byteCount: mark.byteCount, sender: nil))
    }

    /// From now on the frame is at the place; nil: nothing is.
    public func hold(_ mark: FrameMark?, at place: InHandPlace) {
        guard let base = base.load(ordering: .acquiring) else { return }
        InHandPage(base: base).hold(mark, at: place)
    }
}

/// 64 bits of a payload under a secret, so that nobody can aim at the hash of another's message: 16 bytes at a time through one
/// product of 128 bits, whose halves are folded.
enum PayloadHash {
    static func of(_ bytes: Slice<UnsafeRawBufferPointer>, _ keys: (UInt64, UInt64)) -> UInt64 {
        var sum = keys.0
        var place = bytes.startIndex
        let whole = bytes.base
        while bytes.endIndex - place >= 16 {
            let first = whole.loadUnaligned(fromByteOffset: place, as: UInt64.self)
            let second = whole.loadUnaligned(fromByteOffset: place + 8, as: UInt64.self)
            sum = fold(first ^ sum, second ^ keys.1)
            place += 16
        }
        var rest: (UInt64, UInt64) = (0, 0)
        for (index, byte) in bytes[place...].enumerated() {
            if index < 8 {
                rest.0 |= UInt64(byte) << UInt64(8 * index)
            } else {
                rest.1 |= UInt64(byte) << UInt64(8 * index - 64)
            }
        }
        return fold(fold(rest.0 ^ sum, rest.1 ^ keys.1) ^ keys.0, 0x9E37_79B9_7F4A_7C15 &+ UInt64(bytes.count))
    }

    private static func fold(_ left: UInt64, _ right: UInt64) -> UInt64 {
        let product = left.multipliedFullWidth(by: right)
        return product.high ^ product.low
    }
}
