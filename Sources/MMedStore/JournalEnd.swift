import Foundation
import MMedCore
import MMedLocks

/// Where a journal ended when its last group was on the disk, in a small file beside it. The hash chain says of every record
/// whether it is what was written, and cannot say that there was one more: this can. It is written after the group is
/// synchronised and is not synchronised itself, so it may be behind after a cut of the power and is never ahead.
final class JournalEnd: Sendable {
    let path: String
    private let written = Locked(State())

    private struct State {
        var descriptor: Int32 = -1
        var sequence: Int64 = 0
    }

    init(beside journal: String) { path = JournalEnd.path(beside: journal) }

    deinit {
        let descriptor = written.withLock { $0.descriptor }
        if descriptor >= 0 { Glibc.close(descriptor) }
    }

    /// `journal.db` has `journal.end` beside it.
    static func path(beside journal: String) -> String {
        URL(fileURLWithPath: journal).deletingPathExtension().path + ".end"
    }

    /// What it says; nil where it is not there or was cut off in the middle, and then nothing is known.
    func read() -> JournalHead? {
        guard let data = FileManager.default.contents(atPath: path), data.count == JournalEnd.text(of: .empty).count
        else { return nil }
        let words = String(decoding: data, as: UTF8.self).split(whereSeparator: \.isWhitespace)
        guard words.count == 3, let sequence = Int64(words[0]), let chain = Digest(hex: String(words[1])) else {
            return nil
        }
        let head = JournalHead(sequence: sequence, chain: chain)
        return Array(data) == JournalEnd.text(of: head) ? head : nil
    }

    /// Notes a head that is on the disk. What cannot be written is not known later, and nothing else depends on it.
    func note(_ head: JournalHead) {
        written.withLock { written in
            // Two groups may come by here in the other order.
            guard head.sequence > written.sequence else { return }
            written.sequence = head.sequence
            if written.descriptor < 0 { written.descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o644) }
            guard written.descriptor >= 0 else { return }
            let text = JournalEnd.text(of: head)
            // Within one sector, which a disk writes whole or not at all.
            _ = pwrite(written.descriptor, text, text.count, 0)
        }
    }

    /// Number, chain and the first digits of their SHA-256, in a line of one length.
    private static func text(of head: JournalHead) -> [UInt8] {
        let number = String(head.sequence)
        let words = String(repeating: "0", count: 19 - number.count) + number + " " + head.chain.hex
        return Array((words + " " + ContentDigest.of(Array(words.utf8)).hex.prefix(16) + "\n").utf8)
    }
}
