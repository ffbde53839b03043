import MMedCore
import MMedProtocol
import MMedScheduling

// Which version came from which, and what a start finds of it all.
extension Ledger {
    /// An update is on the disk.
    func wrote(_ update: RecordedUpdate) {
        let result = update.result.head.reference
        expect(
            updates.insert(UpdateKey(place: update.place, update: update.update)).inserted, "recorded once",
            "update \(update.update + 1) of \(update.place) is recorded twice")
        expect(
            isKnown(update.base), "committed versions",
            "update \(update.update + 1) starts from \(update.base.digest.short), which no record names")
        let newest = history[result.name]?.last?.reference
        expect(
            newest.map { $0 == update.base } ?? (update.base.version == 0), "one line of versions",
            "update \(update.update + 1) of \(update.place) starts from v\(update.base.version), not from the newest")
        versions[result.name, default: []].insert(result.digest)
        heads[result.name] = result.version
        history[result.name, default: []].append((update.place, result))
    }

    /// The states behind this one cannot be read any more.
    func fellBack(to state: RunState) { lastSaved = state }

    /// What a start reads must be what was written: the last checkpoint, and every record in its place.
    func read(_ state: RunState, _ records: [JournalRecord]) {
        expect(
            records.count == written.count && records.suffix(64) == written.suffix(64), "what is read was written",
            "a start reads \(records.count) records, \(written.count) were written")
        guard var saved = lastSaved else { return }
        saved.epoch = state.epoch
        expect(state == saved, "what is read was written", "a start reads another checkpoint than the last")
    }

    /// A lease of a reinforced step asks for the version that `maxLag` fixes, whatever has been committed meanwhile, or
    /// for the newest where timing chooses; an evaluation asks for what training left.
    func isDue(_ question: QuestionWork) {
        guard let slot = question.slots.first else { return }
        let stage = plan.stages[Int(slot.stage)]
        if stage.kind == .evaluate { return isLeft(question, stage.tracks[Int(slot.track)], slot) }
        guard let adapter = question.adapter, stage.kind == .reinforce else { return }
        if isFree {
            let newest = heads[adapter.name] ?? 0
            let isMade = history[adapter.name]?.contains { $0.reference == adapter } ?? false
            // While the lease waited for the disk the adapter may have moved on once.
            return expect(
                (isMade || adapter.version == 0) && adapter.version >= newest - 1, "version of the step",
                "slot \(slot) is asked of v\(adapter.version) while v\(newest) is the newest")
        }
        let last = max(0, Int(slot.step) - plan.settings.maxLag)
        let due = history[adapter.name]?.last { entry in
            entry.place.stage < Int(slot.stage) || (entry.place.stage == Int(slot.stage) && entry.place.step < last)
        }
        expect(
            due.map { $0.reference == adapter } ?? (adapter.version == 0), "version of the step",
            "slot \(slot) is asked of v\(adapter.version), step \(slot.step) samples v\(due?.reference.version ?? 0)")
    }

    private func isLeft(_ question: QuestionWork, _ track: TrackPlan, _ slot: SlotID) {
        let adapter = question.adapter
        let isRight =
            switch track.adapter {
            case .base: adapter == nil
            case .merged: adapter.map(merges.values.contains) ?? false
            case .specialty:
                history[track.specialty]?.last.map { $0.reference == adapter } ?? (adapter?.version == 0)
            }
        expect(
            isRight, "version of the step",
            "slot \(slot) evaluates v\(adapter?.version ?? -1), which nothing left there")
    }
}
