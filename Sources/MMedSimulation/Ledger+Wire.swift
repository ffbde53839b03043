import MMedCore
import MMedProtocol
import MMedScheduling

// What is said on the wire.
extension Ledger {
    func key(_ shard: ShardID) -> UpdateKey {
        UpdateKey(
            place: StepPlace(stage: Int(shard.stage), track: Int(shard.track), step: Int(shard.step)),
            update: Int(shard.update))
    }

    /// A worker says something, whatever becomes of it.
    func heard(_ message: WorkerMessage, from name: Name) {
        switch message {
        case .trajectories(let lease, let paths):
            for path in paths { senders[Said(lease: lease, slot: path.slot), default: []].insert(name) }
        case .gradientChunk(let chunk):
            if holders[chunk.lease] == name && gradientArrival[chunk.lease] == nil {
                gradientArrival[chunk.lease] = gradientArrival.count
            }
        default: break
        }
    }

    /// A lease leaves for its worker.
    func granted(_ lease: RolloutLease, to name: Name, process: UInt64) {
        granted(lease.lease, to: name, process: process)
        for question in lease.questions where process != newest {
            // What a process that was replaced asks for is never taken under its own right.
            for slot in question.slots where work[slot] == nil { work[slot] = question }
        }
        guard process == newest else { return }
        for question in lease.questions {
            if let adapter = question.adapter {
                expect(
                    isKnown(adapter), "committed versions",
                    "lease \(lease.lease.fence) asks for \(adapter.name) v\(adapter.version), which no record names")
            }
            isDue(question)
            var bare = question
            bare.slots = []
            for slot in question.slots {
                expect(paths[slot] == nil, "no work twice", "slot \(slot) is on the disk and is asked for again")
                expect(!givenUp.contains(slot), "given up stays", "slot \(slot) was given up and is asked for again")
                expect(
                    failures[slot] ?? 0 <= plan.settings.retries + (reopened[slot] ?? 0), "retries end",
                    "slot \(slot) failed \(failures[slot] ?? 0) times and is asked for again")
                work[slot] = bare
                grants[slot] = lease.lease
                timesGranted[slot, default: 0] += 1
            }
        }
        slotsOfLease[lease.lease] = lease.questions.flatMap(\.slots)
    }

    /// A lease that ended before it left: what it brings is taken under no right of its own.
    func grantedInVain(_ lease: RolloutLease) {
        for question in lease.questions {
            var bare = question
            bare.slots = []
            for slot in question.slots {
                if work[slot] == nil { work[slot] = bare }
                timesGranted[slot, default: 0] += 1
            }
        }
    }

    func granted(_ lease: GradientLease, to name: Name, process: UInt64) {
        granted(lease.lease, to: name, process: process)
        guard process == newest else { return }
        expect(
            isKnown(lease.adapter), "committed versions",
            "lease \(lease.lease.fence) asks for \(lease.adapter.name) v\(lease.adapter.version), which no record names"
        )
        if shards[lease.shard] == nil { shardsAsked[key(lease.shard), default: 0] += 1 }
        shards[lease.shard] = (lease, name)
        if hasChecks { checks.openedAt[.shard(lease.shard)] = awake }
        shardOfLease[lease.lease] = lease.shard
    }

    func granted(_ lease: LeaseID, to name: Name, process: UInt64) {
        let last = lastFence[process] ?? 0
        expect(lease.fence > last, "fences grow", "fence \(lease.fence) after \(last)")
        expect(
            lease.fence >> LeaseID.grantBits == process, "fences grow", "fence \(lease.fence) of process \(process)")
        lastFence[process] = lease.fence
        holders[lease] = name
        guard process == newest else { return }
        expect(quarantined[name] == nil, "quarantine holds", "\(name) was caught and has a lease")
        guard var credit = credits[name], lease.fence > credit.from else { return }
        credit.left -= 1
        credits[name] = credit
        expect(credit.left >= 0, "credits", "\(name) has a lease more than it asked for")
    }

    /// A worker said hello and was welcomed, when grants had come to this fence.
    func welcomed(_ name: Name, lastFence: UInt64, process: UInt64) {
        guard process == newest else { return }
        expect(quarantined[name] == nil, "quarantine holds", "\(name) was caught and is welcome")
        credits[name] = Credit(left: 0, from: lastFence)
    }

    func isReady(_ name: Name, _ more: Int, process: UInt64) {
        guard process == newest else { return }
        guard let left = credits[name]?.left else { return }
        credits[name]?.left = min(left + more, max(left, 64))
    }

    /// Bytes of a gradient are acknowledged in full.
    func received(_ lease: LeaseID, from name: Name, process: UInt64) {
        guard process == newest, !checks.leaseIDs.contains(lease) else { return }
        let shard = shardOfLease[lease].flatMap { shards[$0] }
        // One that is here may be told of to anybody who sends it again.
        expect(
            shard?.lease.lease == lease, "live leases",
            "\(name) is told that its gradient of lease \(lease.fence) is taken, which is not the newest of its shard")
    }

    /// The gradients of an update, in the order of the sum.
    func sums(_ order: UpdateOrder, _ gradients: [[UInt8]], process: UInt64) {
        guard process == newest else { return }
        expect(order.shards == order.shards.sorted(), "order of sums", "shards are summed as \(order.shards)")
        expect(gradients.count == order.shards.count, "order of sums", "\(gradients.count) of \(order.shards.count)")
        if let first = order.shards.first { handsOver(key(first).place) }
        let asked = order.shards.first.map { shardsAsked[key($0)] ?? 0 } ?? 0
        expect(
            Set(order.shards).count == order.shards.count && order.shards.count == asked, "each shard once",
            "\(order.shards.count) shards are summed, \(asked) were asked for")
        for (shard, bytes) in zip(order.shards, gradients) {
            guard let lease = shards[shard]?.lease else {
                expect(false, "true gradients", "shard \(shard) was never asked for")
                continue
            }
            expect(
                gradientArrival[lease.lease] != nil, "true senders",
                "shard \(shard) is summed, and the holder of its lease sent no gradient")
            expect(SimulatedEngine.isFinite(bytes), "true gradients", "shard \(shard) is not finite")
            expectTrue(shard, bytes, lease, of: shards[shard]?.worker ?? lease.adapter.name)
        }
    }

    /// An announcement goes to a learner.
    func announced(_ update: UpdateAnnouncement) {
        expect(
            isKnown(update.result), "committed versions",
            "\(update.result.name) v\(update.result.version) is announced, and no record names it")
    }

    /// A lease of a worker that does not lie ended in a way that counts as a failure of its slots.
    func failed(_ lease: LeaseID) {
        for slot in slotsOfLease[lease] ?? [] where grants[slot] == lease { failures[slot, default: 0] += 1 }
    }

    // MARK: Acknowledgements

    /// A worker was told that it may forget paths, which is only true when what was taken of them is on the disk.
    func acknowledged(_ slots: [SlotID], of lease: LeaseID, to name: Name?, process: UInt64) {
        // Under an earlier epoch's lease they may be taken again, under another right.
        guard lease.fence >> LeaseID.grantBits == process, name != nil, name == holders[lease] else { return }
        for slot in slots where paths[slot] == nil { forgettable[lease, default: []].insert(slot) }
    }

    /// The same for a whole lease.
    func revoked(_ lease: LeaseID, of name: Name?, process: UInt64) {
        if name != nil, name == holders[lease], lease.fence >> LeaseID.grantBits == process { revoked.insert(lease) }
    }
}
