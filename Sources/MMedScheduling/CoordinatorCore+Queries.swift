public import MMedAlgorithms
public import MMedCore
public import MMedProtocol

// What the runtime may ask.
extension CoordinatorCore {
    /// How a slot is scored while its step is open; nil when the step is over or was never there.
    public func rewardTask(of id: SlotID) -> RewardTask? {
        guard state.stage < plan.stages.count, let place = place(of: id) else { return nil }
        return tracks[place.track].steps[place.step].questions[place.question].reward
    }

    /// How a path that came under a lease is scored; nil when it cannot be taken whatever its reward is: its step is over,
    /// its slot is not its sender's, or it is longer than was asked for. To read it would be work for nothing.
    public func rewardTask(of path: Trajectory, under lease: LeaseID, from name: Name) -> RewardTask? {
        guard let task = rewardTask(of: path.slot), let place = place(of: path.slot),
            path.completionIds.count <= stage.sampling.maxTokens
        else { return nil }
        // An answer to a check is read as well: two liars whose answers nobody could read must not agree with each other.
        if isCheck(lease, of: name) { return spot.open[.path(path.slot)]?.lease == lease ? task : nil }
        switch slot(at: place).status {
        case .leased(let holder): return holder == lease && leases[lease]?.worker == name ? task : nil
        case .open: return isOfEarlierEpoch(lease) ? task : nil
        case .done, .failed: return nil
        }
    }

    /// The adapter that a shard under way belongs to.
    public func adapterName(of id: ShardID) -> Name? {
        guard state.stage < plan.stages.count, let place = place(of: id) else { return nil }
        return tracks[place.track].plan.specialty
    }

    /// True while a worker may still deliver this shard under this lease: bytes of any other delivery must not be kept.
    public func awaits(_ id: ShardID, under lease: LeaseID, from name: Name) -> Bool {
        if isChecking(id, under: lease, from: name) { return true }
        guard state.stage < plan.stages.count, leases[lease]?.worker == name, let place = place(of: id),
            case .leased(lease) = tracks[place.track].steps[0].shards[place.shard].status
        else { return false }
        return true
    }

    /// True while the gradient of this shard counts: one that was taken back is not to be acknowledged again.
    public func counts(_ id: ShardID) -> Bool {
        guard state.stage < plan.stages.count, let place = place(of: id) else { return false }
        return tracks[place.track].steps[0].shards[place.shard].status.isReceived
    }

    /// True while the worker holds the lease.
    public func isLive(_ lease: LeaseID, of name: Name) -> Bool { leases[lease]?.worker == name }

    /// The fence of the newest right that was granted.
    public var lastFence: LeaseID { LeaseID(fence: nextFence) }

    /// Live learners that hold an adapter, in name order.
    public func learners(of adapter: Name) -> [Name] {
        workerNames.filter { workers[$0]?.hello.role == .learner && workers[$0]?.holds(adapter) == true }
    }

    /// The introduction of a live worker.
    public func hello(of name: Name) -> Hello? { workers[name]?.hello }
}

extension RewardParts {
    /// The verdict on a path whose step is over: it counts for nothing.
    public static let lateArrival = RewardParts(
        strictOption: nil, lenientOption: nil, isStrictCorrect: false, isLenientCorrect: false, total: 0)
}
