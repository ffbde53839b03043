import MMedProtocol
import MMedCore

/// Pulls blobs by digest in chunks, a window of requests at a time, and hands them to whoever waits. Every pull ends: with
/// the bytes, because they are not to be had, or because the worker leaves.
struct BlobPuller {
    /// How a pull ends.
    enum Outcome: Equatable, Sendable {
        case whole([UInt8])
        /// The coordinator does not hold the blob.
        case missing
        /// A chunk cannot belong to the blob that the chunks before belong to.
        case contradiction
        /// The worker leaves.
        case abandoned
    }

    /// A request to send.
    struct Request: Equatable {
        let digest: Digest
        let offset: Int
    }

    private struct Pull {
        var bytes: [UInt8] = []
        var totalBytes: Int?
        /// Offsets asked for and not answered, ascending.
        var open: [Int] = []
        /// The next offset to ask for.
        var next = 0
        /// Looks at it since the last byte came.
        var stillFor = 0
        var outcome: Outcome?
        var waiters: [CheckedContinuation<Outcome, Never>] = []

        /// Asks again from where it stands.
        mutating func restart() -> Int {
            open = [bytes.count]
            next = bytes.count + Limits.blobChunkBytes
            stillFor = 0
            return bytes.count
        }

        mutating func fillWindow() -> [Int] {
            // Answers to what was asked behind a gap are of no use: they run out first, then it is asked for anew.
            if open.isEmpty { next = bytes.count }
            guard let totalBytes, open.first ?? next == bytes.count else { return [] }
            var offsets: [Int] = []
            while open.count < Limits.blobRequestsOutstanding, next < totalBytes {
                offsets.append(next)
                open.append(next)
                next += Limits.blobChunkBytes
            }
            return offsets
        }
    }

    private var pulls: [Digest: Pull] = [:]
    private var isAbandoned = false

    /// Begins to pull a blob unless it is under way; what to request now is returned.
    mutating func begin(_ digest: Digest) -> [Request] {
        guard !isAbandoned, pulls[digest] == nil else { return [] }
        var pull = Pull()
        let offset = pull.restart()
        pulls[digest] = pull
        return [Request(digest: digest, offset: offset)]
    }

    /// Hands over the outcome of a pull that began, now or when it comes.
    mutating func wait(for digest: Digest, _ waiter: CheckedContinuation<Outcome, Never>) {
        guard let outcome = pulls[digest]?.outcome else {
            if pulls[digest] == nil {
                waiter.resume(returning: .abandoned)
            } else {
                pulls[digest]?.waiters.append(waiter)
            }
            return
        }
        pulls[digest] = nil
        waiter.resume(returning: outcome)
    }

    /// Takes a chunk; what to request next is returned.
    mutating func take(_ digest: Digest, offset: Int, totalBytes: Int, bytes: [UInt8]) -> [Request] {
        // Out of the dictionary, so that appending does not copy what is there.
        guard var pull = pulls.removeValue(forKey: digest) else { return [] }
        guard pull.outcome == nil else {
            pulls[digest] = pull
            return []
        }
        pull.open.removeAll { $0 == offset }
        if offset == pull.bytes.count {
            guard (1...Limits.blobBytes).contains(totalBytes), pull.totalBytes ?? totalBytes == totalBytes,
                bytes.count <= totalBytes - offset, !bytes.isEmpty
            else {
                end(digest, pull, .contradiction)
                return []
            }
            pull.totalBytes = totalBytes
            pull.bytes.append(contentsOf: bytes)
            pull.stillFor = 0
            if pull.bytes.count == totalBytes {
                end(digest, pull, .whole(pull.bytes))
                return []
            }
        }
        let offsets = pull.fillWindow()
        pulls[digest] = pull
        return offsets.map { Request(digest: digest, offset: $0) }
    }

    /// True until the pull has its outcome.
    func isUnderWay(_ digest: Digest) -> Bool { pulls[digest].map { $0.outcome == nil } ?? false }

    /// The coordinator does not hold the blob.
    mutating func miss(_ digest: Digest) {
        guard let pull = pulls.removeValue(forKey: digest) else { return }
        end(digest, pull, pull.outcome ?? .missing)
    }

    /// A new connection: everything under way is asked for again from where it stands.
    mutating func restart() -> [Request] { restart { _ in true } }

    /// Called at each beat: what has stood still for so many calls is asked for again.
    mutating func nudge(after calls: Int) -> [Request] {
        for digest in pulls.keys { pulls[digest]?.stillFor += 1 }
        return restart { $0.stillFor >= calls }
    }

    private mutating func restart(where isMeant: (Pull) -> Bool) -> [Request] {
        var requests: [Request] = []
        for digest in pulls.keys.sorted() {
            guard let pull = pulls[digest], pull.outcome == nil, isMeant(pull),
                let offset = pulls[digest]?.restart()
            else { continue }
            requests.append(Request(digest: digest, offset: offset))
        }
        return requests
    }

    /// The worker leaves: nobody waits for ever, and nothing begins any more.
    mutating func abandon() {
        isAbandoned = true
        for digest in pulls.keys.sorted() {
            guard let pull = pulls.removeValue(forKey: digest) else { continue }
            end(digest, pull, pull.outcome ?? .abandoned)
        }
    }

    private mutating func end(_ digest: Digest, _ pull: Pull, _ outcome: Outcome) {
        for waiter in pull.waiters { waiter.resume(returning: outcome) }
        guard pull.waiters.isEmpty else { return }
        // Whoever began it comes for the outcome.
        var ended = Pull()
        ended.outcome = outcome
        pulls[digest] = ended
    }
}
