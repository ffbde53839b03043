import MMedAlgorithms
import MMedCore
import MMedProtocol

/// What a track keeps for bounding the age of its samples.
struct FreeRunningTrack {
    /// Versions that one step makes at most.
    let versionsPerStep: Int
    /// A version was made, a step came nearer, or paths were taken over from the journal: some may be too old now.
    var isSweepDue = true

    init(_ plan: TrackPlan) {
        versionsPerStep = plan.steps.reduce(1) { max($0, $1.learningRates.count) }
    }
}

// Free-running: a lease asks for the newest version there is, so timing chooses versions. Every adapter has a clock of its
// own, its version number, and the age of each path is bounded on its own: when it arrives, whenever its adapter moves on,
// and again when its group closes. A path that is too old is taken back, for the record, and its slot is asked again.
extension CoordinatorCore {
    /// True while the stage under way lets timing choose versions.
    var isFreeRunning: Bool {
        plan.settings.mode == .freeRunning && plan.stages.indices.contains(state.stage) && stage.kind == .reinforce
    }

    /// Versions that a path may be behind its adapter when its group closes.
    func stalenessMax(_ track: Int) -> Int {
        let most = plan.settings.maxLag * tracks[track].free.versionsPerStep
        return isFreeRunning ? plan.settings.maxStaleness ?? most : most
    }

    func isStale(_ path: Trajectory, track: Int) -> Bool {
        guard isFreeRunning, let head = tracks[track].head?.reference else { return false }
        // In this form no version that a worker may say can overflow.
        return path.version < head.version - stalenessMax(track)
    }

    // MARK: Asking

    /// The version that a lease of a step's slots asks for now.
    func asked(_ track: Int, step: Int) -> AdapterReference? {
        isFreeRunning ? tracks[track].head?.reference : tracks[track].steps[step].adapter
    }

    /// What was asked is what must come, whatever the adapter has become meanwhile.
    mutating func rememberAsked(_ places: [SlotPlace], under lease: LeaseID) {
        guard isFreeRunning else { return }
        for place in places { leases[lease]?.asked[place.track] = tracks[place.track].head?.reference }
    }

    /// Why a path's policy is not the one that was asked for; nil when it is. Without a lease (it died with an earlier
    /// coordinator, or the path is the journal's) every version will do that this run has made.
    func wrongVersion(_ path: Trajectory, at place: SlotPlace, under lease: LeaseID?) -> String? {
        guard isFreeRunning else {
            return mismatch(path, tracks[place.track].steps[place.step].adapter)
        }
        if let asked = lease.flatMap({ leases[$0]?.asked[place.track] }) { return mismatch(path, asked) }
        let recent = tracks[place.track].progress.recent
        if let known = recent.last(where: { $0.version == path.version }) { return mismatch(path, known) }
        let made = OpenWork.VersionPlace(stage: state.stage, track: place.track, version: path.version)
        if let made = openWork.made[made] { return mismatch(path, made) }
        // Older than what is remembered is too old to be used; the journal's was looked at when it was taken.
        if isStale(path, track: place.track) { return nil }
        return "it was sampled by version \(path.version) (\(path.adapterDigest?.short ?? "base"))"
            + ", which no update of this run made"
    }

    func mismatch(_ path: Trajectory, _ asked: AdapterReference?) -> String? {
        guard path.adapterDigest != asked?.digest || path.version != (asked?.version ?? -1) else { return nil }
        return "it was sampled by version \(path.version) (\(path.adapterDigest?.short ?? "base"))"
            + ", the lease asked for \(asked?.version ?? -1) (\(asked?.digest.short ?? "base"))"
    }

    // MARK: The clock of an adapter

    /// An adapter has a new version, or a step that makes none is over.
    mutating func rememberVersion(_ track: Int) {
        tracks[track].free.isSweepDue = true
        guard isFreeRunning, let head = tracks[track].head?.reference, tracks[track].progress.recent.last != head
        else { return }
        tracks[track].progress.recent.append(head)
        tracks[track].progress.recent = tracks[track].progress.recent.suffix(stalenessMax(track) + 1)
    }

    /// Versions that may still be made before the groups of an open step close.
    func versionsAhead(of step: Int, track: Int) -> Int {
        guard step > 0, let first = tracks[track].steps.first else { return 0 }
        let perStep = tracks[track].free.versionsPerStep
        func left(from update: Int) -> Int { first.updates.dropFirst(update).count { !$0.isEmpty } }
        let now =
            switch first.phase {
            case .sampling, .sampled: perStep
            case .between(let next): left(from: next)
            case .learning(let update), .committing(let update): left(from: update)
            }
        return now + (step - 1) * perStep
    }

    /// In free-running mode a step closes when it is the oldest: no version is made any more before its groups are used, and
    /// what it decides about spares rests on paths that stay.
    func mayClose(_ step: Int) -> Bool { !isFreeRunning || step == 0 }

    // MARK: Taking back

    /// Takes back the paths of a track that are too old and asks their slots again: in steps so near that the new path will
    /// be young enough however many versions come before its group closes. Others wait until their step is near.
    mutating func takeBackStale(_ track: Int) {
        guard isFreeRunning, !isDraining, tracks[track].free.isSweepDue, let head = tracks[track].head?.reference
        else { return }
        tracks[track].free.isSweepDue = false
        let most = stalenessMax(track)
        for step in tracks[track].steps.indices where versionsAhead(of: step, track: track) <= most {
            guard case .sampling = tracks[track].steps[step].phase else { continue }
            var (count, oldest) = (0, head.version)
            for place in donePlaces(track: track, step: step) {
                guard case .done(let path, let lease) = slot(at: place).status,
                    isStale(path.trajectory, track: track)
                else { continue }
                count += 1
                oldest = min(oldest, path.trajectory.version)
                takeBack(place, of: lease)
            }
            guard count > 0 else { continue }
            moved()
            logStale(
                scope(track), step: tracks[track].steps[step].step,
                [
                    .init("paths", .int(count)), .init("oldest", .int(oldest)), .init("version", .int(head.version)),
                    .init("max_staleness", .int(most)),
                ])
        }
    }

    /// Slots with a path, in id order; questions that were replaced have none that matters.
    private func donePlaces(track: Int, step: Int) -> [SlotPlace] {
        let open = tracks[track].steps[step]
        return open.slots.indices.filter { !open.replaced[$0] }.flatMap { question in
            open.slots[question].indices.compactMap { slot in
                guard case .done = open.slots[question][slot].status else { return nil }
                return SlotPlace(track: track, step: step, question: question, slot: slot)
            }
        }
    }

    /// A recorded path is too old: that is on record before its slot is asked again.
    private mutating func takeBack(_ place: SlotPlace, of lease: LeaseID) {
        let question = tracks[place.track].steps[place.step].questions[place.question].id
        actions.append(
            .record(
                .drop(
                    DroppedPath(
                        slot: slot(at: place).id, worker: nil, lease: lease, question: question,
                        reason: DroppedPath.stale, isGivenUp: false, isVoided: true))))
        askAgain(place)
    }

    /// Opens a slot whose path was too old. No failure of anybody: versions alone decide, and no outcome, so that this cannot
    /// select outcomes.
    mutating func askAgain(_ place: SlotPlace) {
        tracks[place.track].steps[place.step].stalePaths += 1
        withdraw(.path(slot(at: place).id))
        set(.open, at: place)
    }

    /// A step was opened: goes on counting where the journal stopped, and looks at the paths that it has from there.
    mutating func recallStale(_ track: Int) {
        guard isFreeRunning, let last = tracks[track].steps.indices.last else { return }
        tracks[track].free.isSweepDue = true
        let place = StepPlace(stage: state.stage, track: track, step: tracks[track].steps[last].step)
        tracks[track].steps[last].stalePaths = openWork.stale.removeValue(forKey: place) ?? 0
    }

    // MARK: Telling

    mutating func logStale(_ scope: String, step: Int? = nil, _ fields: [LogEntry.Field]) {
        log(.info, scope, step: step, "stale-paths", fields + [.init("why", .text("too old, they are asked again"))])
    }

    /// How old the paths of closing groups are, in versions, and how many were too old to come this far.
    func stalenessFields(_ step: StepState, track: Int) -> [LogEntry.Field] {
        guard isFreeRunning, let head = tracks[track].head?.reference else { return [] }
        let ages = step.slots.joined().compactMap { slot -> Int? in
            guard case .done(let path, _) = slot.status else { return nil }
            return head.version - path.trajectory.version
        }
        let mean = Double(ages.reduce(0, +)) / Double(max(1, ages.count))
        return [
            .init("stale_min", .int(ages.min() ?? 0)), .init("stale_mean", .double(mean)),
            .init("stale_max", .int(ages.max() ?? 0)), .init("stale_dropped", .int(step.stalePaths)),
        ]
    }

    // MARK: Learning from mixed versions

    /// True when a path was sampled by the very weights that learning starts from: its log-probs are the start's.
    func isFresh(_ path: Trajectory, _ head: AdapterReference?) -> Bool {
        path.adapterDigest == head?.digest && path.version == (head?.version ?? -1)
    }

    /// True when a later update of a step needs the start's log-probs computed anew for some of a shard's paths.
    func needsStart(_ shard: ShardState, _ step: StepState) -> Bool {
        guard isFreeRunning else { return step.adapter != step.learningBase }
        return shard.microbatches.joined().contains { tree in tree.targets.contains { $0.proxLogprobs.isEmpty } }
    }
}
