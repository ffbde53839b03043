import MMedCore
import MMedProtocol

@testable import MMedScheduling

/// What must hold between any two events.
enum Invariants {
    static func problems(of core: CoordinatorCore) -> [String] {
        var problems: [String] = []
        func expect(_ holds: Bool, _ what: @autoclosure () -> String) { if !holds { problems.append(what()) } }
        var leasedSlots: [LeaseID: Int] = [:]
        var leasedShards: [LeaseID: Int] = [:]
        for track in core.tracks {
            var (open, pending) = (0, 0)
            for (offset, step) in track.steps.enumerated() {
                expect(step.step == track.progress.committedSteps + offset, "step \(step.step) at place \(offset)")
                let slots = step.slots.flatMap { $0 }
                open += slots.count { $0.status.isOpen }
                pending += slots.count { !$0.status.isFinal }
                expect(step.openSlots == slots.count { $0.status.isOpen }, "open slots of step \(step.step)")
                expect(step.pendingSlots == slots.count { !$0.status.isFinal }, "pending slots of step \(step.step)")
                for (index, question) in step.slots.enumerated() {
                    let count = question.count { $0.status.isOpen }
                    expect(step.openPerQuestion[index] == count, "open slots of question \(index)")
                    expect(index >= step.firstOpen || count == 0, "an open slot before the first open question")
                    expect(question.map(\.id) == question.map(\.id).sorted(), "slots out of id order")
                    for slot in question {
                        if case .leased(let lease) = slot.status { leasedSlots[lease, default: 0] += 1 }
                        if let place = core.place(of: slot.id) {
                            expect(core.slot(at: place).id == slot.id, "slot \(slot.id) is found at \(place)")
                        } else {
                            expect(false, "slot \(slot.id) is not found")
                        }
                    }
                }
                for shard in step.shards {
                    if case .leased(let lease) = shard.status { leasedShards[lease, default: 0] += 1 }
                }
            }
            expect(track.openSlots == open && track.pendingSlots == pending, "the counts of track \(track.index)")
        }
        for (lease, state) in core.leases {
            expect(core.workers[state.worker]?.leases.contains(lease) == true, "lease \(lease) of a worker who is gone")
            switch state.work {
            case .slots: expect(leasedSlots[lease] ?? 0 > 0, "lease \(lease) holds no slot any more")
            case .shard: expect(leasedShards[lease] == 1, "lease \(lease) holds no shard any more")
            case .checks: expect(!core.isOver(lease), "lease \(lease) checks nothing any more")
            }
        }
        for (subject, check) in core.spot.open {
            expect(
                check.lease.map { core.leases[$0] != nil } ?? true, "\(subject) is checked under a lease that is over")
            expect(!check.statements.isEmpty, "a check of \(subject) that nobody brought")
        }
        for lease in leasedSlots.keys {
            expect(core.leases[lease] != nil, "a slot under lease \(lease), which is over")
        }
        for lease in leasedShards.keys {
            expect(core.leases[lease] != nil, "a shard under lease \(lease), which is over")
        }
        expect(core.workerNames == core.workers.keys.sorted(), "the names of the workers")
        for (name, worker) in core.workers {
            expect(worker.credits >= 0, "\(name) has \(worker.credits) credits")
            expect(worker.leases.count <= CoordinatorCore.leasesPerWorker, "\(name) has \(worker.leases.count) leases")
            for lease in worker.leases {
                expect(core.leases[lease]?.worker == name, "\(name) has a lease that is over")
            }
        }
        return problems
    }
}
