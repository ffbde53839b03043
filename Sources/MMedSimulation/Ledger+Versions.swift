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
        history[result.name, default: []].append((update.place, result))
    }

    /// What a start reads must be what was written: the last checkpoint, and every record in its place.
    func read(_ state: RunState, _ records: [JournalRecord]) {
        expect(
            records.count == written.count && records.suffix(64) == written.suffix(64), "what is read was written",
            "a start reads \(records.count) records, \(written.count) were written")
        guard var saved = lastSaved else { return }
        saved.epoch = state.epoch
        expect(state == saved, "what is read was written", "a start reads another checkpoint than the last")
    }

    /// A lease of a reinforced step asks for the version that `maxLag` fixes, whatever has been committed meanwhile.
    func isDue(_ question: QuestionWork) {
        guard let slot = question.slots.first, let adapter = question.adapter,
            plan.stages[Int(slot.stage)].kind == .reinforce
        else { return }
        let last = max(0, Int(slot.step) - plan.settings.maxLag)
        let due = history[adapter.name]?.last { entry in
            entry.place.stage < Int(slot.stage) || (entry.place.stage == Int(slot.stage) && entry.place.step < last)
        }
        expect(
            due.map { $0.reference == adapter } ?? (adapter.version == 0), "version of the step",
            "slot \(slot) is asked of v\(adapter.version), step \(slot.step) samples v\(due?.reference.version ?? 0)")
    }
}
