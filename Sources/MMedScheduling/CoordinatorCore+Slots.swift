import MMedCore
import MMedProtocol

// Where slots and shards live while their step is open.
extension CoordinatorCore {
    struct SlotPlace: Equatable {
        let track: Int, step: Int, question: Int, slot: Int
    }

    /// Where a slot lives; nil when its step is over or was never there. Every index comes from a worker.
    func place(of id: SlotID) -> SlotPlace? {
        guard Int(id.stage) == state.stage, tracks.indices.contains(Int(id.track)) else { return nil }
        let track = Int(id.track)
        let step = Int(id.step) - tracks[track].progress.committedSteps
        guard tracks[track].steps.indices.contains(step) else { return nil }
        let open = tracks[track].steps[step]
        let question = Int(id.question)
        guard open.slots.indices.contains(question) else { return nil }
        // Slots stand in id order, so that guideline and sample say where.
        let plan = open.questions[question]
        guard plan.suffixIds.indices.contains(Int(id.guideline)), (0..<plan.pathsPerPrompt).contains(Int(id.sample))
        else { return nil }
        let slot = Int(id.guideline) * plan.pathsPerPrompt + Int(id.sample)
        return SlotPlace(track: track, step: step, question: question, slot: slot)
    }

    func slot(at place: SlotPlace) -> SlotState {
        tracks[place.track].steps[place.step].slots[place.question][place.slot]
    }

    mutating func set(_ status: SlotStatus, at place: SlotPlace) {
        tracks[place.track].set(status, step: place.step, question: place.question, slot: place.slot)
    }

    /// Opens a slot again after a failure, or gives it up when it has failed too often. A retry has the same seed, so that
    /// it cannot select outcomes.
    mutating func fail(_ place: SlotPlace, reason: String) {
        let failures = tracks[place.track].steps[place.step].countFailure(question: place.question, slot: place.slot)
        guard failures > plan.settings.retries else {
            set(.open, at: place)
            return
        }
        set(.failed(reason), at: place)
        let id = slot(at: place).id
        let question = tracks[place.track].steps[place.step].questions[place.question].id
        actions.append(
            .record(
                .drop(
                    DroppedPath(
                        slot: id, worker: nil, lease: nil, question: question, reason: reason, isGivenUp: true))))
        log(
            .warn, scope(place.track), step: Int(id.step), "slot-failed",
            [
                .init("slot", .text(id.description)), .init("failures", .int(failures)), .init("reason", .text(reason)),
            ])
    }

    /// The open slots of a question, in id order.
    func slots(of question: QuestionPlan, track: Int, step: Int, question index: Int) -> [SlotState] {
        question.suffixIds.indices.flatMap { prompt in
            (0..<question.pathsPerPrompt).map { sample in
                SlotState(
                    id: SlotID(
                        stage: Int32(state.stage), track: Int32(track), step: Int32(step), question: Int32(index),
                        guideline: Int32(prompt), sample: Int32(sample)))
            }
        }
    }

    /// Takes what the journal knows of a question's slots as if it had just come.
    mutating func restore(track: Int, step: Int, question: Int) {
        for slot in tracks[track].steps[step].slots[question].indices where ending == nil {
            let place = SlotPlace(track: track, step: step, question: question, slot: slot)
            let id = self.slot(at: place).id
            if let recorded = openWork.paths.removeValue(forKey: id) {
                if isVoid(recorded, at: place) { continue }
                if let refusal = refusal(of: recorded.path.trajectory, at: place) {
                    contradict("slot \(id): \(refusal)")
                    return
                }
                set(.done(recorded.path, under: recorded.sentUnder), at: place)
                sign(place, by: recorded.worker)
            } else if let reason = openWork.givenUp.removeValue(forKey: id) {
                set(.failed(reason), at: place)
            }
        }
    }

    /// What is computed again is not what the journal says was computed: nothing may rest on either.
    mutating func contradict(_ what: String) {
        log(
            .error, "run", "journal-contradicts",
            [
                .init("what", .text(what)),
                .init("mend", .text("resume with the program, model and data that the run began with")),
            ])
        end(.failed("what was computed again differs from the journal: \(what)"))
    }

    /// The track and shard index of a shard under way; only the oldest step of a track learns.
    func place(of id: ShardID) -> (track: Int, shard: Int)? {
        guard Int(id.stage) == state.stage, tracks.indices.contains(Int(id.track)),
            let step = tracks[Int(id.track)].steps.first, step.shards.indices.contains(Int(id.shard)),
            step.shards[Int(id.shard)].id == id
        else { return nil }
        return (Int(id.track), Int(id.shard))
    }
}
