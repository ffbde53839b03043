import MMedCore
import MMedProtocol
import MMedScheduling

extension StepPlace {
    /// The step of a slot.
    init(of slot: SlotID) {
        self.init(stage: Int(slot.stage), track: Int(slot.track), step: Int(slot.step))
    }
}

// The age of paths where timing chooses versions, and what a run has in common with others.
extension Ledger {
    var isFree: Bool { plan.settings.mode == .freeRunning }

    /// Versions that a path of a stage's track may be behind.
    func ageMax(_ place: StepPlace) -> Int {
        let steps = plan.stages[place.stage].tracks[place.track].steps
        return plan.settings.maxStaleness
            ?? plan.settings.maxLag * steps.reduce(1) { max($0, $1.learningRates.count) }
    }

    func specialty(_ place: StepPlace) -> Name { plan.stages[place.stage].tracks[place.track].specialty }

    private func isReinforced(_ place: StepPlace) -> Bool { plan.stages[place.stage].kind == .reinforce }

    /// A process goes on from the last checkpoint, whatever versions the journal knows of.
    func begin() {
        heads = [:]
        for head in lastSaved?.heads ?? [] { heads[head.reference.name] = head.reference.version }
    }

    /// A path is taken: it must not be older than what may be used of the adapter as it stands.
    func expectYoung(_ record: RecordedPath) {
        let path = record.path.trajectory
        let place = StepPlace(of: path.slot)
        guard isFree, isReinforced(place) else { return }
        let age = (heads[specialty(place)] ?? 0) - path.version
        expect(
            age <= ageMax(place), "young when taken",
            "slot \(path.slot) is taken \(age) versions old, at most \(ageMax(place)) will do")
    }

    /// Groups close: no path of them is too old for the adapter that learns from it.
    func expectYoung(_ closed: ClosedGroups) {
        guard isFree else { return }
        let current = history[specialty(closed.place)]?.last?.reference.version ?? 0
        for member in closed.members {
            expect(member.use != .stale, "young when used", "slot \(member.slot) comes to its group too old")
            guard let version = paths[member.slot]?.path.trajectory.version else { continue }
            let age = current - version
            expect(
                (0...ageMax(closed.place)).contains(age), "young when used",
                "slot \(member.slot) is used \(age) versions old, at most \(ageMax(closed.place)) will do")
        }
    }

    /// A path was not taken: its slot is nobody's any more.
    func passOn(_ drop: DroppedPath) {
        if let lease = drop.lease, grants[drop.slot] == lease { grants[drop.slot] = nil }
        guard drop.reason == DroppedPath.stale else { return }
        expect(
            isFree && paths[drop.slot] == nil, "recorded once", "slot \(drop.slot) has a path and another is too old")
        reopened[drop.slot, default: 0] += 1
        staleSlots.insert(drop.slot)
        staleCount += 1
    }

    /// A path cannot stand.
    func tookBack(_ drop: DroppedPath, _ former: RecordedPath, wasClosed: Bool) {
        let place = StepPlace(of: drop.slot)
        reopened[drop.slot, default: 0] += 1
        checks.lies[drop.slot] = nil
        guard drop.reason == DroppedPath.stale else { return tookBackUnchecked(drop, former, place) }
        staleSlots.insert(drop.slot)
        staleCount += 1
        expect(!wasClosed, "groups are final", "slot \(drop.slot) is too old after its group closed")
        let age = (history[specialty(place)]?.last?.reference.version ?? 0) - former.path.trajectory.version
        expect(
            isFree && age > ageMax(place), "young when used",
            "slot \(drop.slot) is taken back \(age) versions old, \(ageMax(place)) will do")
    }

    /// Each slot whose path was too old has another, or was given up.
    func expectAskedAgain() {
        for slot in staleSlots.sorted() where paths[slot] == nil {
            expect(givenUp.contains(slot), "asked again", "slot \(slot) was too old and was not asked again")
        }
    }

    // MARK: Other runs

    func compare(_ state: RunState, _ expected: RunState) {
        var (state, expected) = (state, expected)
        (state.epoch, expected.epoch) = (0, 0)
        for (head, other) in zip(state.heads, expected.heads) {
            expect(
                head.reference.digest == other.reference.digest, "same bytes",
                "adapter \(head.reference.name) ends as \(head.reference.digest.short), \(other.reference.digest.short) "
                    + "in a quiet run")
        }
        expect(state == expected, "same bytes", "the final state differs from a quiet run's")
    }

    /// Until timing chooses versions a run is any other: evaluations and supervision know no mode.
    func compareBeginning(_ state: RunState, _ expected: RunState) {
        let first = plan.stages.firstIndex { $0.kind == .reinforce } ?? plan.stages.count
        let names = Set(plan.stages[..<first].map(\.name))
        expect(
            state.evaluations.filter { names.contains($0.stage) }
                == expected.evaluations.filter { names.contains($0.stage) }, "same bytes",
            "evaluations before reinforcement differ from a quiet run's")
        expect(
            state.stageHeads.filter { names.contains($0.stage) }
                == expected.stageHeads.filter { names.contains($0.stage) }, "same bytes",
            "supervised adapters differ from a quiet run's")
    }

    /// A run that begins with the whole journal, and with other workers, comes to the same end and has nothing to add.
    func compareReplay(_ state: RunState, _ replayed: RunState, _ news: [JournalRecord]) {
        var (state, replayed) = (state, replayed)
        (state.epoch, replayed.epoch) = (0, 0)
        expect(
            state.heads == replayed.heads, "same journal", "the journal, played again, makes other adapters"
        )
        expect(state == replayed, "same journal", "the journal, played again, ends in another state")
        expect(
            news.isEmpty, "same journal",
            "the journal, played again, adds \(news.count) records: \(news.first.map { "\($0)" } ?? "")")
    }
}
