import MMedCoordinator
import MMedCore
import MMedProtocol
import MMedScheduling

extension CoordinatorPorts {
    /// The same ports, with failpoints before and after each step that must outlive the process.
    var withFailpoints: CoordinatorPorts {
        var ports = self
        ports.optimizer = FailpointOptimizer(inner: optimizer)
        ports.store = FailpointStore(inner: store)
        ports.journal = FailpointJournal(inner: journal)
        ports.merge = FailpointMerge(inner: merge)
        return ports
    }
}

private struct FailpointOptimizer: OptimizerPort {
    let inner: any OptimizerPort

    func apply(_ order: UpdateOrder, gradients: [any ScratchBytes]) async throws -> AppliedUpdate {
        try await hit("optimizer-apply") { try await inner.apply(order, gradients: gradients) }
    }

    func gradientBytes(of adapter: Name) -> Int? { inner.gradientBytes(of: adapter) }
    func isFinite(_ gradient: any ScratchBytes) throws -> Bool { try inner.isFinite(gradient) }
}

private struct FailpointStore: StorePort {
    let inner: any StorePort

    func piece(of digest: Digest, at offset: Int, bytesMax: Int) throws -> BlobPiece? {
        try inner.piece(of: digest, at: offset, bytesMax: bytesMax)
    }
    func scratch() throws -> any ScratchBytes { try inner.scratch() }
    func digest(of scratch: any ScratchBytes) throws -> Digest { try inner.digest(of: scratch) }
    func save(_ state: RunState) throws { try hitNow("store-save") { try inner.save(state) } }
}

private struct FailpointJournal: JournalPort {
    let inner: any JournalPort

    func append(_ records: [JournalRecord]) async throws {
        try await hit("journal-append") { try await inner.append(records) }
    }
}

private struct FailpointMerge: MergePort {
    let inner: any MergePort

    func merge(_ order: MergeOrder) async throws -> AdapterReference {
        try await hit("merge") { try await inner.merge(order) }
    }
}
