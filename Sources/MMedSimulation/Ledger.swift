import MMedAlgorithms
import MMedCore
import MMedProtocol
import MMedScheduling

/// What an observer beside the disk and the wire knows of a run, and the promises it holds the coordinator to. The first
/// broken one is kept.
final class Ledger {
    /// A promise that was not kept.
    struct Breach: Equatable {
        /// Which promise, in a word or two: the checker's name.
        let checker: String
        let what: String
    }

    let plan: RunPlan
    /// A run that is only compared with another: the promises are not looked at, but that it ends.
    private let isMuted: Bool
    private(set) var breach: Breach?

    // What is on the disk.
    private(set) var paths: [SlotID: RecordedPath] = [:]
    private(set) var givenUp = Set<SlotID>()
    private(set) var groups: [StepPlace: ClosedGroups] = [:]
    var versions: [Name: Set<Digest>] = [:]
    var updates = Set<UpdateKey>()
    /// The version that each update left, in the order of the records.
    var history: [Name: [(place: StepPlace, reference: AdapterReference)]] = [:]
    /// What a start must read again.
    var written: [JournalRecord] = []
    var lastSaved: RunState?
    private(set) var merges: [Int: AdapterReference] = [:]
    private var epoch: UInt64 = 0
    var drops: [SlotID: Int] = [:]
    /// What was sampled for a slot that no group has closed over yet, by stage and track and step.
    private var pathsOfStep: [StepPlace: Int] = [:]

    // What was granted.
    var lastFence: [UInt64: UInt64] = [:]
    /// The process that started last; others are about to end.
    private(set) var newest: UInt64 = 0
    var work: [SlotID: QuestionWork] = [:]
    var grants: [SlotID: LeaseID] = [:]
    var shards: [ShardID: (lease: GradientLease, worker: Name)] = [:]
    var shardOfLease: [LeaseID: ShardID] = [:]
    var slotsOfLease: [LeaseID: [SlotID]] = [:]
    var holders: [LeaseID: Name] = [:]
    var credits: [Name: Credit] = [:]
    /// Leases whose holder was told that it may forget their results.
    var forgettable: [LeaseID: Set<SlotID>] = [:]
    var revoked = Set<LeaseID>()
    var failures: [SlotID: Int] = [:]
    /// When each was caught, by the time that the newest process was awake.
    var quarantined: [Name: UInt64] = [:]
    /// Times that this process leased a slot.
    var timesGranted: [SlotID: Int] = [:]
    /// Shards of an update that this process leased.
    var shardsAsked: [UpdateKey: Int] = [:]
    /// Who sent a path under a lease.
    var senders: [Said: Set<Name>] = [:]
    /// Gradients that the holder of their lease sent, in the order of their arrival.
    var gradientArrival: [LeaseID: Int] = [:]

    struct UpdateKey: Hashable {
        let place: StepPlace
        let update: Int
    }

    struct Said: Hashable {
        let lease: LeaseID
        let slot: SlotID
    }

    struct Credit {
        var left: Int
        /// Leases up to this fence were granted before the credits were counted anew.
        var from: UInt64
    }

    // Ages, where timing chooses versions.
    /// The version that each adapter had come to for the process that writes, as the journal tells.
    var heads: [Name: Int] = [:]
    /// Times that a slot was opened again after its path was taken or came too old.
    var reopened: [SlotID: Int] = [:]
    var staleSlots = Set<SlotID>()
    var staleCount = 0

    // Spot checks.
    let draw: SpotDraw
    var liars = Set<Name>()
    /// Microseconds for which the newest process was awake.
    var awake: UInt64 = 0
    var startedAt: UInt64 = 0
    var judges = Judges()
    var checks = CheckBook()

    init(plan: RunPlan, isMuted: Bool = false) {
        (self.plan, self.isMuted) = (plan, isMuted)
        draw = SpotDraw(plan)
    }

    func expect(_ holds: Bool, _ checker: String, _ what: @autoclosure () -> String) {
        if !holds && breach == nil && (!isMuted || checker == "every run ends") {
            breach = Breach(checker: checker, what: what())
        }
    }

    // MARK: The disk

    /// A group is on the disk.
    func wrote(_ records: [JournalRecord], of process: UInt64) {
        expect(records.count <= 256, "bounds", "a group has \(records.count) records")
        expect(process == newest, "one writer", "epoch \(process) writes records under epoch \(newest)")
        written += records
        for record in records {
            switch record {
            case .session(let number):
                expect(number > epoch, "fences grow", "a session of epoch \(number) after \(epoch)")
                epoch = number
                begin()
            case .path(let path): wrote(path, of: process)
            case .drop(let drop) where drop.isVoided: void(drop)
            case .drop(let drop):
                passOn(drop)
                if drop.isGivenUp { giveUp(drop.slot) } else { drops[drop.slot, default: 0] += 1 }
                expect(
                    drops[drop.slot] ?? 0 <= 8, "bounds",
                    "slot \(drop.slot) has \(drops[drop.slot] ?? 0) lines of drops")
            case .groups(let closed): wrote(closed)
            case .update(let update): wrote(update)
            case .merge(let merge):
                expect(
                    merges[merge.stage] == nil, "recorded once", "the merge of stage \(merge.stage) is recorded twice")
                merges[merge.stage] = merge.result
            case .quarantine(let worker): caught(worker)
            }
        }
    }

    /// A path that cannot stand: its slot and the groups of its step are open again.
    private func void(_ drop: DroppedPath) {
        let slot = drop.slot
        let place = StepPlace(of: slot)
        let former = paths.removeValue(forKey: slot)
        expect(former != nil, "recorded once", "slot \(slot) is void and has no path")
        pathsOfStep[place, default: 0] -= 1
        let wasClosed = groups.removeValue(forKey: place) != nil
        if let former { tookBack(drop, former, wasClosed: wasClosed) }
    }

    private func wrote(_ record: RecordedPath, of process: UInt64) {
        let slot = record.path.trajectory.slot
        expect(paths[slot] == nil, "recorded once", "slot \(slot) is recorded twice")
        expect(!givenUp.contains(slot), "given up stays", "slot \(slot) was given up and has a path")
        let place = StepPlace(of: slot)
        expect(groups[place] == nil, "groups are final", "slot \(slot) is recorded after its group closed")
        if let asked = work[slot] {
            expectTrue(record, asked)
            expect(
                record.path.parts == SimulatedEngine.judge(record.path.trajectory, asked.reward), "true rewards",
                "slot \(slot) is paid \(record.path.parts.total)")
        } else {
            expect(false, "true paths", "slot \(slot) was never asked for")
        }
        expect(
            senders[Said(lease: record.sentUnder, slot: slot)]?.contains(record.worker) == true, "true senders",
            "slot \(slot) is recorded as \(record.worker)'s under \(record.sentUnder.fence), which never sent it so")
        expect(
            record.lease != record.sentUnder || holders[record.lease] == record.worker, "live leases",
            "slot \(slot) is taken from \(record.worker), who does not hold \(record.lease.fence)")
        // An acknowledgement that was sent before, under a lease of this process, came too early.
        expect(
            forgettable[record.sentUnder]?.contains(slot) != true, "acknowledged is on disk",
            "slot \(slot) was acknowledged before its record was on the disk")
        expect(
            !revoked.contains(record.sentUnder), "acknowledged is on disk",
            "lease \(record.sentUnder.fence) was revoked before the record of slot \(slot) was on the disk")
        expectYoung(record)
        paths[slot] = record
        pathsOfStep[place, default: 0] += 1
        // Its holder has brought it.
        grants[slot] = nil
    }

    private func giveUp(_ slot: SlotID) {
        givenUp.insert(slot)
        // A lease that ended before it left for its worker is not among them.
        expect(
            (timesGranted[slot] ?? 0) + 1 > plan.settings.retries, "retries are made",
            "slot \(slot) is given up after \(timesGranted[slot] ?? 0) leases")
    }

    private func wrote(_ closed: ClosedGroups) {
        let place = closed.place
        expect(groups[place] == nil, "recorded once", "the groups of \(place) are recorded twice")
        groups[place] = closed
        var (taken, last) = (0, SlotID?.none)
        for member in closed.members {
            if let last { expect(last < member.slot, "whole groups", "slot \(member.slot) is out of order or twice") }
            last = member.slot
            let isTaken = paths[member.slot] != nil
            taken += isTaken ? 1 : 0
            expect(
                isTaken || givenUp.contains(member.slot), "whole groups",
                "slot \(member.slot) is in a closed group (\(member.use.rawValue)), and neither recorded nor given up")
        }
        expectYoung(closed)
        expectClean(closed)
        // Spares that were drawn because of a lie may not be drawn again.
        expect(
            taken == pathsOfStep[place] ?? 0 || checks.sampledAgain.contains(place), "whole groups",
            "\(taken) recorded paths in the groups of \(place), \(pathsOfStep[place] ?? 0) on the disk")
        let step = plan.stages[place.stage].tracks[place.track].steps[place.step]
        let slots = step.questions.reduce(0) { $0 + $1.suffixIds.count * $1.pathsPerPrompt }
        expect(closed.members.count >= slots, "whole groups", "\(closed.members.count) of \(slots) slots of \(place)")
    }

    /// True for a version that a run begins with or that a record tells of.
    func isKnown(_ reference: AdapterReference) -> Bool {
        if reference.name.text == "merged" { return merges.values.contains(reference) }
        return reference.version == 0 || versions[reference.name]?.contains(reference.digest) == true
    }

    func isSame(_ left: Trajectory, _ right: Trajectory, ignoringVersion: Bool = false) -> Bool {
        left.completionIds == right.completionIds && left.logprobs == right.logprobs && left.stop == right.stop
            && (ignoringVersion || left.version == right.version) && left.adapterDigest == right.adapterDigest
    }

    /// A checkpoint replaced the one before.
    func saved(_ state: RunState, after former: RunState, process: UInt64) {
        expect(state.epoch == process, "fences grow", "a checkpoint of epoch \(state.epoch) by process \(process)")
        expect(process == newest, "one writer", "epoch \(process) writes a checkpoint under epoch \(newest)")
        lastSaved = state
        for head in state.heads.map(\.reference) { heads[head.name] = max(heads[head.name] ?? 0, head.version) }
        expectClean(state, after: former)
        let isForward = (former.stage, former.tracks.reduce(0) { $0 + $1.committedSteps })
        let reached = (state.stage, state.tracks.reduce(0) { $0 + $1.committedSteps })
        expect(isForward <= reached, "no way back", "a checkpoint goes back from \(isForward) to \(reached)")
        for head in state.heads {
            expect(
                isKnown(head.reference), "committed versions", "a checkpoint names \(head.reference), no record does")
        }
        if let merged = state.merged {
            expect(merges.values.contains(merged), "committed versions", "a checkpoint names a merge, no record does")
        }
        guard state.stage < plan.stages.count, plan.stages[state.stage].kind == .reinforce else { return }
        for (track, progress) in state.tracks.enumerated() {
            for step in 0..<progress.committedSteps {
                let place = StepPlace(stage: state.stage, track: track, step: step)
                expect(groups[place] != nil, "records before checkpoint", "\(place) is committed without its groups")
            }
        }
    }

    // MARK: Processes

    /// A new process: what the former one said of its leases is over, and failures are counted anew.
    func started(_ process: UInt64) {
        newest = process
        startedAt = awake
        judges = Judges()
        checks.begin(at: awake)
        holders = [:]
        (forgettable, revoked, failures, grants, credits) = ([:], [], [:], [:], [:])
        (shards, shardOfLease, slotsOfLease, drops) = ([:], [:], [:], [:])
        (timesGranted, shardsAsked, gradientArrival) = ([:], [:], [:])
    }

    // MARK: The end

    /// What must hold when a run is complete.
    func completed(_ state: RunState, expected: RunState?) {
        for (slot, _) in paths where plan.stages[Int(slot.stage)].kind == .reinforce {
            let place = StepPlace(of: slot)
            expect(groups[place] != nil, "each path in one group", "slot \(slot) is in no closed group")
        }
        for record in state.evaluations {
            let stage = plan.stages.firstIndex { $0.name == record.stage } ?? 0
            let track = plan.stages[stage].tracks.firstIndex { $0.specialty == record.specialty } ?? 0
            let sampled = paths.keys.reduce(0) { $0 + (Int($1.stage) == stage && Int($1.track) == track ? 1 : 0) }
            expect(
                sampled == record.paths.count, "each path in one group",
                "\(record.stage) of \(record.specialty) counts \(record.paths.count) paths, \(sampled) are on the disk")
        }
        expectAskedAgain()
        for head in state.heads {
            expect(
                history[head.reference.name]?.last.map { $0.reference == head.reference }
                    ?? (head.reference.version == 0),
                "same journal", "\(head.reference) is not what the journal's last update made")
        }
        // What nobody checked may change a run, and then all that comes after.
        guard let expected, !isTouchedByLies else { return }
        plan.settings.mode == .fixedLag ? compare(state, expected) : compareBeginning(state, expected)
    }
}
