import MMedCore
import MMedLocks
import MMedProtocol

/// Leases whose work should stop; the engine asks from its own thread.
final class CancelledLeases: Sendable {
    private let leases = Locked<Set<LeaseID>>([])

    func insert(_ lease: LeaseID) { leases.withLock { _ = $0.insert(lease) } }
    func remove(_ lease: LeaseID) { leases.withLock { _ = $0.remove(lease) } }
    func contains(_ lease: LeaseID) -> Bool { leases.withLock { $0.contains(lease) } }
    var isEmpty: Bool { leases.withLock { $0.isEmpty } }
}
