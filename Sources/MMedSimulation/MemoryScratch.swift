import MMedCoordinator
import MMedLocks

/// A gradient's room in memory, on a disk that may be full.
final class MemoryScratch: ScratchBytes {
    private let content: Locked<[UInt8]>
    private let isFull: @Sendable () -> Bool

    init(_ bytes: [UInt8] = [], isFull: @escaping @Sendable () -> Bool = { false }) {
        content = Locked(bytes)
        self.isFull = isFull
    }

    var count: Int { content.withLock { $0.count } }
    /// What a scratch of the simulation holds; it can always be read.
    static func bytes(of scratch: any ScratchBytes) -> [UInt8] { (try? scratch.allBytes()) ?? [] }

    func append(_ bytes: [UInt8]) throws {
        if isFull() { throw SimulatedDisk.Refusal.full }
        content.withLock { $0 += bytes }
    }

    func bytes(at offset: Int, count: Int) -> [UInt8] { content.withLock { Array($0[offset..<offset + count]) } }
}
