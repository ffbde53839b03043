import MMedCore
import MMedProtocol
import MMedScheduling

/// What may be computed a second time.
enum CheckedWork: Hashable {
    case path(SlotID)
    case shard(ShardID)
}

/// Who could judge others' work, as the newest process may know it. Times are those for which it was awake.
struct Judges {
    /// The instance of a worker that asked for work, and the one whose canary was heard.
    var asked: [Name: UInt64] = [:]
    var sung: [Name: UInt64] = [:]
    /// Since when a liar has been there with a known processor.
    var knownSince: [Name: UInt64] = [:]
    /// When it was last not so, after the time in which workers come back to a new process.
    var unknownAt: [Name: UInt64] = [:]
    /// When no honest worker could judge last: paths, and gradients by adapter.
    var noneForPathsAt: UInt64?
    var noneForShardsAt: [Name: UInt64] = [:]
}

/// What is known of spot checks and of the lies that they are for.
struct CheckBook {
    /// Paths on the disk that their worker did not compute.
    var lies: [SlotID: Name] = [:]
    /// Gradients that were summed and that their worker did not compute.
    var liesSummed = 0
    /// When a path came to the disk, or a shard was leased.
    var openedAt: [CheckedWork: UInt64] = [:]
    /// The processor of the path's worker was known then.
    var isKindKnown = Set<SlotID>()
    /// Leases of a check that left under this process.
    var leases: [CheckedWork: Int] = [:]
    /// Who was heard under such a lease, and what was said first of a path.
    var answered: [CheckedWork: Set<Name>] = [:]
    var answers: [SlotID: Trajectory] = [:]
    var leaseIDs = Set<LeaseID>()
    /// Steps of which a path was void for its worker's sake.
    var sampledAgain = Set<StepPlace>()
    /// When this process first had an update of a step applied.
    var handedOver = Set<StepPlace>()

    /// A new process has nothing but the journal.
    mutating func begin(at now: UInt64) {
        openedAt = openedAt.mapValues { _ in now }
        isKindKnown = []
        (leases, answered, answers, leaseIDs, handedOver) = ([:], [:], [:], [], [])
    }
}

// Spot checks: who is checked by whom, and what becomes of lies.
extension Ledger {
    var hasChecks: Bool { plan.settings.spotCheck > 0 }
    /// A path may be taken back, and its slot asked again.
    var mayReopen: Bool { isFree || hasChecks }

    /// Microseconds by which the disk and short pauses may let the core's time differ from what is seen here.
    private var slack: UInt64 { 4_000_000 }

    // MARK: Lies

    func expectTrue(_ record: RecordedPath, _ asked: QuestionWork) {
        let path = record.path.trajectory
        var asked = asked
        if isFree, plan.stages[Int(path.slot.stage)].kind == .reinforce, let digest = path.adapterDigest {
            // It may have been asked by an earlier process, which knew another version as the newest.
            let named = AdapterReference(
                name: specialty(StepPlace(of: path.slot)), version: path.version, digest: digest)
            let isMade = history[named.name]?.contains { $0.reference == named } == true
            expect(
                isMade || named.version == 0, "committed versions",
                "slot \(path.slot) is of \(named.name) v\(named.version), which no record names")
            asked.adapter = named
        }
        let truth = SimulatedEngine.path(path.slot, asked, seed: plan.seed)
        let isTrue = isSame(path, truth) && path.choiceLogprobs == truth.choiceLogprobs
        expect(
            isTrue || hasChecks && liars.contains(record.worker), "true paths",
            "slot \(path.slot) holds what was not asked for: \(record)")
        expect(
            quarantined[record.worker] == nil, "quarantine holds",
            "slot \(path.slot) is taken from \(record.worker), who was caught")
        guard hasChecks else { return }
        if !isTrue { checks.lies[path.slot] = record.worker }
        checks.openedAt[.path(path.slot)] = awake
        if let since = judges.knownSince[record.worker], since + slack <= awake {
            checks.isKindKnown.insert(path.slot)
        } else {
            checks.isKindKnown.remove(path.slot)
        }
    }

    /// True when a lie was not drawn, or nobody was there in time who could have found it.
    private func mayPass(_ work: CheckedWork, of liar: Name, isKindKnown: Bool) -> Bool {
        let noneAt: UInt64?
        switch work {
        case .path(let slot):
            guard draw.takes(slot) else { return true }
            noneAt = judges.noneForPathsAt
        case .shard(let shard):
            guard draw.takes(shard) else { return true }
            noneAt = judges.noneForShardsAt[specialty(key(shard).place)]
        }
        guard let opened = checks.openedAt[work] else { return false }
        let from = opened - min(opened, slack)
        if awake + slack >= opened + 2_000 * plan.settings.leaseMilliseconds { return true }
        if checks.leases[work] ?? 0 > plan.settings.retries { return true }
        if let noneAt, noneAt >= from { return true }
        if !isKindKnown, let unknownAt = judges.unknownAt[liar], unknownAt >= from { return true }
        return false
    }

    private func expectClean(_ slot: SlotID, _ what: String) {
        guard let worker = paths[slot]?.worker else { return }
        if let liar = checks.lies[slot] {
            expect(
                mayPass(.path(slot), of: liar, isKindKnown: checks.isKindKnown.contains(slot)), "no lie is used",
                "\(liar) made up slot \(slot), a check drew it, and \(what)")
        }
        if let caughtAt = quarantined[worker] {
            expect(caughtAt >= awake, "work is done again", "slot \(slot) is of \(worker), who was caught, and \(what)")
        }
    }

    /// Groups close over paths.
    func expectClean(_ closed: ClosedGroups) {
        guard hasChecks, updates.allSatisfy({ $0.place != closed.place }) else { return }
        for member in closed.members { expectClean(member.slot, "its group closes") }
    }

    /// A checkpoint counts paths in new evaluations.
    func expectClean(_ state: RunState, after former: RunState) {
        guard hasChecks, state.evaluations.count != former.evaluations.count else { return }
        for record in state.evaluations where !former.evaluations.contains(record) {
            guard let stage = plan.stages.firstIndex(where: { $0.name == record.stage }),
                let track = plan.stages[stage].tracks.firstIndex(where: { $0.specialty == record.specialty })
            else { continue }
            for slot in paths.keys.sorted() where (Int(slot.stage), Int(slot.track)) == (stage, track) {
                expectClean(slot, "\(record.stage) counts it")
            }
        }
    }

    /// A gradient is summed.
    func expectTrue(_ shard: ShardID, _ bytes: [UInt8], _ lease: GradientLease, of worker: Name) {
        if bytes != SimulatedEngine.gradient(lease) {
            let isDrawnLie = hasChecks && liars.contains(worker)
            let isKnown = judges.knownSince[worker].map { $0 <= checks.openedAt[.shard(shard)] ?? 0 } ?? false
            expect(isDrawnLie, "true gradients", "what is summed for shard \(shard) is not its gradient")
            expect(
                mayPass(.shard(shard), of: worker, isKindKnown: isKnown), "no lie is used",
                "\(worker) made up the gradient of shard \(shard), a check drew it, and it is summed")
            checks.liesSummed += 1
        }
        if let caughtAt = quarantined[worker] {
            expect(
                caughtAt >= awake, "work is done again", "shard \(shard) is of \(worker), who was caught, and is summed"
            )
        }
    }

    /// An update of a step is about to be made: what it learns from is nobody's who was caught before.
    func handsOver(_ place: StepPlace) {
        guard hasChecks, checks.handedOver.insert(place).inserted, updates.allSatisfy({ $0.place != place }),
            let closed = groups[place]
        else { return }
        for member in closed.members { expectClean(member.slot, "an update is made of it") }
    }

    /// A lie that nobody found is part of what the run has become.
    var isTouchedByLies: Bool { !checks.lies.isEmpty || checks.liesSummed > 0 }

    // MARK: Who is caught

    func caught(_ worker: QuarantinedWorker) {
        expect(quarantined[worker.party] == nil, "recorded once", "\(worker.party) is caught twice")
        expect(
            liars.contains(worker.worker) && liars.contains(worker.party), "the honest are safe",
            "\(worker.worker) did nothing wrong and is quarantined: \(worker.reason)")
        quarantined[worker.party] = awake
    }

    /// A path is void because of who brought it.
    func tookBackUnchecked(_ drop: DroppedPath, _ former: RecordedPath, _ place: StepPlace) {
        expect(hasChecks, "recorded once", "slot \(drop.slot) is void: \(drop.reason)")
        expect(
            updates.allSatisfy { $0.place != place }, "groups are final",
            "slot \(drop.slot) is void after an update was made of it")
        checks.sampledAgain.insert(place)
        // Its spares and its shards are drawn anew.
        let planned = plan.stages[place.stage].tracks[place.track].steps[place.step].questions.count
        for slot in failures.keys where StepPlace(of: slot) == place && Int(slot.question) >= planned {
            failures[slot] = nil
        }
        for slot in drops.keys where StepPlace(of: slot) == place && Int(slot.question) >= planned { drops[slot] = nil }
        for shard in shards.keys where key(shard).place == place {
            shards[shard] = nil
            shardsAsked[key(shard)] = nil
        }
    }

    // MARK: Who checks

    /// A lease of something that is here already leaves for its worker.
    func checks(_ lease: RolloutLease, by name: Name) {
        note(lease.lease)
        for question in lease.questions {
            for slot in question.slots {
                guard let known = paths[slot], let asked = work[slot] else { continue }
                expectAnother(.path(slot), than: known.worker, name)
                let adapter = question.adapter
                expect(
                    adapter?.digest == known.path.trajectory.adapterDigest
                        && adapter?.version ?? -1 == known.path.trajectory.version
                        && question.prefixIds == asked.prefixIds && question.suffixIds == asked.suffixIds
                        && question.sampling == asked.sampling, "the same question",
                    "slot \(slot) of v\(known.path.trajectory.version) is checked as v\(adapter?.version ?? -1)")
            }
        }
    }

    func checks(_ lease: GradientLease, by name: Name) {
        note(lease.lease)
        guard let known = shards[lease.shard] else { return }
        expectAnother(.shard(lease.shard), than: known.worker, name)
        expect(
            SimulatedEngine.gradient(lease) == SimulatedEngine.gradient(known.lease), "the same question",
            "shard \(lease.shard) is checked as another")
    }

    private func note(_ lease: LeaseID) { checks.leaseIDs.insert(lease) }

    /// Only where answers differ is their author asked again.
    private func expectAnother(_ work: CheckedWork, than author: Name, _ name: Name) {
        checks.leases[work, default: 0] += 1
        expect(
            name != author || checks.answered[work]?.contains { $0 != author } == true, "another checks",
            "\(name) is to check what it said itself: \(work)")
    }
}
