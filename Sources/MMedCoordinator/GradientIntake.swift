import MMedCore
import MMedProtocol

/// Puts gradients together from their chunks and holds them until they are summed.
struct GradientIntake {
    /// What a chunk came to.
    enum Verdict {
        /// So many bytes are here.
        case partial(Int)
        /// The gradient is whole; its digest must still be checked.
        case whole([UInt8])
        /// The chunk does not fit what came before.
        case refused(String)
    }

    private struct Partial {
        let lease: LeaseID
        let digest: Digest
        let totalBytes: Int
        var bytes: [UInt8]
    }

    private var partials: [ShardID: Partial] = [:]
    private var whole: [ShardID: [UInt8]] = [:]

    /// Takes a chunk of a gradient of `expectedBytes`; chunks of a lease come in order from offset 0.
    mutating func take(_ chunk: GradientChunk, expectedBytes: Int) -> Verdict {
        guard chunk.totalBytes == expectedBytes else {
            return .refused("the gradient has \(chunk.totalBytes) bytes, expected \(expectedBytes)")
        }
        if chunk.offset == 0 {
            var bytes: [UInt8] = []
            bytes.reserveCapacity(expectedBytes)
            partials[chunk.shard] = Partial(
                lease: chunk.lease, digest: chunk.digest, totalBytes: chunk.totalBytes, bytes: bytes)
        }
        guard var partial = partials.removeValue(forKey: chunk.shard), partial.lease == chunk.lease,
            partial.digest == chunk.digest, partial.bytes.count == chunk.offset,
            chunk.bytes.count <= partial.totalBytes - chunk.offset, !chunk.bytes.isEmpty
        else { return .refused("a chunk at offset \(chunk.offset) does not follow the one before") }
        partial.bytes.append(contentsOf: chunk.bytes)
        if partial.bytes.count == partial.totalBytes { return .whole(partial.bytes) }
        let count = partial.bytes.count
        partials[chunk.shard] = partial
        return .partial(count)
    }

    /// Holds a checked gradient.
    mutating func hold(_ bytes: [UInt8], of shard: ShardID) { whole[shard] = bytes }

    /// The held gradients of the shards; nil when one is missing.
    func gradients(of shards: [ShardID]) -> [[UInt8]]? {
        var result: [[UInt8]] = []
        for shard in shards {
            guard let bytes = whole[shard] else { return nil }
            result.append(bytes)
        }
        return result
    }

    mutating func forget(_ shard: ShardID) {
        whole[shard] = nil
        partials[shard] = nil
    }
}
