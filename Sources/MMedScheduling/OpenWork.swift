import MMedAlgorithms
import MMedCore
import MMedProtocol

/// What a journal knows of steps that are not committed: a coordinator that starts again takes it as if it had just come.
struct OpenWork: Sendable {
    /// Paths taken.
    var paths: [SlotID: RecordedPath] = [:]
    /// Slots given up, and why.
    var givenUp: [SlotID: String] = [:]
    /// How groups closed.
    var groups: [StepPlace: ClosedGroups] = [:]
    /// What updates made.
    var updates: [UpdatePlace: AdapterReference] = [:]
    /// What merges made.
    var merges: [Int: AdapterReference] = [:]

    struct UpdatePlace: Hashable {
        let place: StepPlace
        let update: Int
    }

    /// The records that a state has not made part of itself; a journal may name others too.
    init(_ records: [JournalRecord], after state: RunState) {
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
            case .drop(let drop): if drop.isGivenUp, isOpen(drop.slot) { givenUp[drop.slot] = drop.reason }
            case .groups(let closed): if isOpen(closed.place) { groups[closed.place] = closed }
            case .update(let update):
                if isOpen(update.place) {
                    updates[UpdatePlace(place: update.place, update: update.update)] = update.result.head.reference
                }
            case .merge(let merge): if merge.stage >= state.stage { merges[merge.stage] = merge.result }
            case .session: break
            }
        }
    }

    /// Nothing is open.
    init() {}
}
