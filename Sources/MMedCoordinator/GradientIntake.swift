import MMedCore
import MMedProtocol

/// Puts gradients together from their chunks and holds them until they are summed. The caller hands over chunks of live
/// leases alone, so at most one gradient of each shard under way is here.
struct GradientIntake {
    /// What a chunk came to.
    enum Verdict: Equatable {
        /// So many bytes are here.
        case partial(Int)
        /// The gradient is whole; its digest must still be checked.
        case whole([UInt8])
        /// The chunk does not fit what came before.
        case refused(String)
    }

    private struct Partial {
        let lease: LeaseID
        let worker: Name
        let digest: Digest
        var bytes: [UInt8]
    }

    private var partials: [ShardID: Partial] = [:]
    private var whole: [ShardID: (lease: LeaseID, bytes: [UInt8])] = [:]

    /// Takes a chunk of a gradient of `expectedBytes`; chunks of a lease come in order, and offset 0 begins anew.
    mutating func take(_ chunk: GradientChunk, from worker: Name, expectedBytes: Int) -> Verdict {
        guard chunk.totalBytes == expectedBytes else {
            partials[chunk.shard] = nil
            return .refused("the gradient has \(chunk.totalBytes) bytes, expected \(expectedBytes)")
        }
        if chunk.offset == 0 {
            var bytes: [UInt8] = []
            bytes.reserveCapacity(expectedBytes)
            partials[chunk.shard] = Partial(lease: chunk.lease, worker: worker, digest: chunk.digest, bytes: bytes)
        }
        // Out of the dictionary, so that appending does not copy what is there.
        guard var partial = partials.removeValue(forKey: chunk.shard), partial.lease == chunk.lease,
            partial.digest == chunk.digest, partial.bytes.count == chunk.offset,
            chunk.bytes.count <= expectedBytes - chunk.offset, !chunk.bytes.isEmpty
        else { return .refused("a chunk at offset \(chunk.offset) does not follow the one before") }
        partial.bytes.append(contentsOf: chunk.bytes)
        if partial.bytes.count == expectedBytes { return .whole(partial.bytes) }
        let count = partial.bytes.count
        partials[chunk.shard] = partial
        return .partial(count)
    }

    /// Holds a checked gradient.
    mutating func hold(_ bytes: [UInt8], of shard: ShardID, under lease: LeaseID) { whole[shard] = (lease, bytes) }

    /// Bytes of a held gradient that came under this lease; nil when there is none.
    func bytesHeld(of shard: ShardID, under lease: LeaseID) -> Int? {
        guard let held = whole[shard], held.lease == lease else { return nil }
        return held.bytes.count
    }

    /// The held gradients of the shards; nil when one is missing.
    func gradients(of shards: [ShardID]) -> [[UInt8]]? {
        var result: [[UInt8]] = []
        for shard in shards {
            guard let held = whole[shard] else { return nil }
            result.append(held.bytes)
        }
        return result
    }

    /// Forgets beginnings that will have no end: their lease was revoked, or their worker is gone.
    mutating func prune(_ isAwaited: (ShardID, LeaseID, Name) -> Bool) {
        guard !partials.isEmpty else { return }
        partials = partials.filter { isAwaited($0.key, $0.value.lease, $0.value.worker) }
    }

    mutating func forget(_ shard: ShardID) {
        whole[shard] = nil
        partials[shard] = nil
    }

    /// Bytes that are here, whole gradients and beginnings.
    var byteCount: Int {
        whole.values.reduce(0) { $0 + $1.bytes.count } + partials.values.reduce(0) { $0 + $1.bytes.count }
    }
}
