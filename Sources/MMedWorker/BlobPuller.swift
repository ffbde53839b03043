import MMedCore
import MMedProtocol

/// Pulls blobs by digest in chunks, a window of requests at a time, and hands them to whoever waits.
struct BlobPuller {
    private struct Pull {
        var bytes: [UInt8] = []
        var totalBytes: Int?
        var requested = 0
        var waiters: [CheckedContinuation<[UInt8]?, Never>] = []
    }

    private var pulls: [Digest: Pull] = [:]

    /// Adds a waiter; the offsets to request now are returned.
    mutating func begin(_ digest: Digest, _ waiter: CheckedContinuation<[UInt8]?, Never>) -> [Int] {
        if pulls[digest] != nil {
            pulls[digest]?.waiters.append(waiter)
            return []
        }
        var pull = Pull()
        pull.waiters = [waiter]
        pull.requested = Limits.blobChunkBytes
        pulls[digest] = pull
        return [0]
    }

    /// Takes a chunk; the offsets to request next are returned. Chunks come in the order of their requests.
    mutating func take(_ digest: Digest, offset: Int, totalBytes: Int, bytes: [UInt8]) -> [Int] {
        guard var pull = pulls[digest], offset == pull.bytes.count, totalBytes <= Limits.blobBytes,
            pull.totalBytes == nil || pull.totalBytes == totalBytes, bytes.count <= totalBytes - offset, !bytes.isEmpty
        else { return [] }
        pull.totalBytes = totalBytes
        pull.bytes.append(contentsOf: bytes)
        if pull.bytes.count == totalBytes {
            pulls[digest] = nil
            for waiter in pull.waiters { waiter.resume(returning: pull.bytes) }
            return []
        }
        var offsets: [Int] = []
        let window = pull.bytes.count + Limits.blobChunkBytes * Limits.blobRequestsOutstanding
        while pull.requested < min(totalBytes, window) {
            offsets.append(pull.requested)
            pull.requested += Limits.blobChunkBytes
        }
        pulls[digest] = pull
        return offsets
    }

    /// The coordinator does not hold the blob: its waiters get nil.
    mutating func miss(_ digest: Digest) {
        guard let pull = pulls.removeValue(forKey: digest) else { return }
        for waiter in pull.waiters { waiter.resume(returning: nil) }
    }

    /// A new connection: everything under way is asked for again from where it stands.
    mutating func restart() -> [(Digest, Int)] {
        var requests: [(Digest, Int)] = []
        for digest in pulls.keys.sorted() {
            guard var pull = pulls[digest] else { continue }
            pull.requested = pull.bytes.count + Limits.blobChunkBytes
            requests.append((digest, pull.bytes.count))
            pulls[digest] = pull
        }
        return requests
    }

    /// The worker stops: nobody waits for ever.
    mutating func abandon() {
        for digest in pulls.keys.sorted() { miss(digest) }
    }
}
