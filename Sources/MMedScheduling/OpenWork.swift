import MMedAlgorithms
public import MMedCore
import MMedProtocol

/// What a journal knows of steps that are not committed: a coordinator that starts again takes it as if it had just come.
struct OpenWork: Sendable {
    /// Paths taken.
    var paths: [SlotID: RecordedPath] = [:]
    /// Slots given up, and why.
    var givenUp: [SlotID: String] = [:]
    /// How groups closed.
    var groups: [StepPlace: ClosedGroups] = [:]
    /// Updates that were made.
    var updates: [UpdatePlace: RecordedUpdate] = [:]
    /// Digests of weights and moments that the store still has.
    var kept: Set<Digest> = []
    /// The same by version, and kept: paths may be younger than the update that is done again.
    var made: [VersionPlace: AdapterReference] = [:]
    /// Paths of a step that were too old.
    var stale: [StepPlace: Int] = [:]
    /// What merges made.
    var merges: [Int: AdapterReference] = [:]
    /// Who was caught, in the whole run.
    var quarantined: [QuarantinedWorker] = []

    struct UpdatePlace: Hashable {
        let place: StepPlace
        let update: Int
    }

    struct VersionPlace: Hashable {
        let stage: Int, track: Int, version: Int
    }

    /// The records that a state has not made part of itself; a journal may name others too.
    init(_ records: [JournalRecord], after state: RunState, kept: Set<Digest> = []) {
        self.kept = kept
        func isOpen(stage: Int, track: Int, step: Int) -> Bool {
            guard stage == state.stage else { return stage > state.stage }
            // A stage that was not entered yet has no tracks.
            return state.tracks.indices.contains(track) ? step >= state.tracks[track].committedSteps : true
        }
        func isOpen(_ id: SlotID) -> Bool { isOpen(stage: Int(id.stage), track: Int(id.track), step: Int(id.step)) }
        func isOpen(_ place: StepPlace) -> Bool { isOpen(stage: place.stage, track: place.track, step: place.step) }
        for record in records {
            switch record {
            case .path(let path): if isOpen(path.path.trajectory.slot) { paths[path.path.trajectory.slot] = path }
            case .drop(let drop) where drop.isVoided || drop.isStale: takeBack(drop)
            case .drop(let drop): if drop.isGivenUp, isOpen(drop.slot) { givenUp[drop.slot] = drop.reason }
            case .groups(let closed): if isOpen(closed.place) { groups[closed.place] = closed }
            case .update(let update):
                if isOpen(update.place) {
                    updates[UpdatePlace(place: update.place, update: update.update)] = update
                    note(update)
                }
            case .merge(let merge): if merge.stage >= state.stage { merges[merge.stage] = merge.result }
            case .quarantine(let worker): quarantined.append(worker)
            case .session: break
            }
        }
    }

    /// A path that cannot stand leaves its slot open.
    private mutating func takeBack(_ drop: DroppedPath) {
        if drop.isVoided { void(drop.slot) }
        if drop.isStale { stale[StepPlace(of: drop.slot), default: 0] += 1 }
    }

    /// A path that cannot stand takes the groups of its step with it.
    mutating func void(_ slot: SlotID) {
        paths[slot] = nil
        groups[StepPlace(of: slot)] = nil
    }

    private mutating func note(_ update: RecordedUpdate) {
        let result = update.result.head.reference
        made[VersionPlace(stage: update.place.stage, track: update.place.track, version: result.version)] = result
    }

    /// True when a run can go on from what an update made.
    func isKept(_ update: RecordedUpdate) -> Bool { update.result.head.digests.allSatisfy(kept.contains) }

    /// Nothing is open.
    init() {}
}

extension AdapterHead {
    /// Weights and moments.
    public var digests: [Digest] { [reference.digest] + [momentsDigest].compactMap { $0 } }
}

extension RunState {
    /// True when the update that this head came of is part of the state: a run that goes on from here asks for it no more.
    public func hasReached(_ head: AdapterHead) -> Bool {
        heads.contains { $0.reference.name == head.reference.name && $0.reference.version >= head.reference.version }
    }

    /// The updates that the journal knows beyond this state, in its order: a start keeps what they made.
    public func openUpdates(in journal: [JournalRecord]) -> [RecordedUpdate] {
        let open = Set(OpenWork(journal, after: self).updates.values)
        return journal.compactMap { record in
            if case .update(let update) = record, open.contains(update) { update } else { nil }
        }
    }
}
