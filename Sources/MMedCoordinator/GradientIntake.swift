import MMedCore
import MMedProtocol

/// Puts gradients together from their chunks and holds them until they are summed. The caller hands over chunks of live
/// leases alone, so at most one gradient of each shard under way is here.
struct GradientIntake {
    /// What a chunk came to.
    enum Verdict {
        /// So many bytes are here.
        case partial(Int)
        /// The gradient is whole; its digest must still be checked.
        case whole(any ScratchBytes)
        /// The chunk does not fit what came before.
        case refused(String)
    }

    private struct Partial {
        let lease: LeaseID
        let worker: Name
        let digest: Digest
        let gradient: any ScratchBytes
    }

    private var partials: [ShardID: Partial] = [:]
    private var whole: [ShardID: (lease: LeaseID, gradient: any ScratchBytes)] = [:]

    /// Takes a chunk of a gradient of `expectedBytes`; chunks of a lease come in order, and offset 0 begins anew, in a scratch of
    /// its own. Throws when there is no room for it.
    mutating func take(
        _ chunk: GradientChunk, from worker: Name, expectedBytes: Int, scratch: () throws -> any ScratchBytes
    ) throws -> Verdict {
        // Whatever does not fit what came before ends it.
        let before = partials.removeValue(forKey: chunk.shard)
        guard chunk.totalBytes == expectedBytes else {
            return .refused("the gradient has \(chunk.totalBytes) bytes, expected \(expectedBytes)")
        }
        let partial =
            try chunk.offset == 0
            ? Partial(lease: chunk.lease, worker: worker, digest: chunk.digest, gradient: scratch()) : before
        guard let partial, partial.lease == chunk.lease, partial.digest == chunk.digest,
            partial.gradient.count == chunk.offset, chunk.bytes.count <= expectedBytes - chunk.offset,
            !chunk.bytes.isEmpty
        else { return .refused("a chunk at offset \(chunk.offset) does not follow the one before") }
        try partial.gradient.append(chunk.bytes)
        if partial.gradient.count == expectedBytes { return .whole(partial.gradient) }
        partials[chunk.shard] = partial
        return .partial(partial.gradient.count)
    }

    /// Holds a checked gradient.
    mutating func hold(_ gradient: any ScratchBytes, of shard: ShardID, under lease: LeaseID) {
        whole[shard] = (lease, gradient)
    }

    /// Bytes of a held gradient that came under this lease; nil when there is none.
    func bytesHeld(of shard: ShardID, under lease: LeaseID) -> Int? {
        guard let held = whole[shard], held.lease == lease else { return nil }
        return held.gradient.count
    }

    /// The held gradients of the shards; nil when one is missing.
    func gradients(of shards: [ShardID]) -> [any ScratchBytes]? {
        var result: [any ScratchBytes] = []
        for shard in shards {
            guard let held = whole[shard] else { return nil }
            result.append(held.gradient)
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
        whole.values.reduce(0) { $0 + $1.gradient.count } + partials.values.reduce(0) { $0 + $1.gradient.count }
    }
}
