import MMedCore
import MMedProtocol

/// What the canary scored with one version, by worker, in the order of the reports.
struct CanaryLedger {
    let adapter: AdapterReference?
    var reports: [(worker: Name, logprob: Double)] = []
}

// Proof that workers compute with what they say they have loaded. A digest proves which bytes came; the canary's log-prob
// proves that the engine uses them: another adapter's weights, or none, score another number.
extension CoordinatorCore {
    /// Versions whose canaries are remembered.
    private static var canariesKept: Int { 64 }
    /// Workers whose numbers for one version are remembered.
    private static var reportsKept: Int { 64 }

    mutating func take(_ report: CanaryReport, from name: Name) {
        guard workers[name] != nil else { return }
        workers[name]?.lastHeard = now
        if report.adapter == nil { workers[name]?.mark = report.logprob }
        guard report.adapter.map(isOurs) ?? true else { return }
        let place: Int
        // Only what this run has handed out gets a place, so that invented versions push nothing out.
        if let known = canaries.firstIndex(where: { $0.adapter == report.adapter }) {
            place = known
        } else {
            guard report.adapter.map(isHandedOut) ?? true else { return }
            if canaries.count == CoordinatorCore.canariesKept { canaries.removeFirst() }
            canaries.append(CanaryLedger(adapter: report.adapter))
            place = canaries.count - 1
            warnIfLikeBase(report, from: name)
        }
        canaries[place].reports.removeAll { $0.worker == name || workers[$0.worker] == nil }
        if canaries[place].reports.count == CoordinatorCore.reportsKept {
            let unproven = canaries[place].reports.firstIndex { workers[$0.worker]?.isProven != true }
            canaries[place].reports.remove(at: unproven ?? 0)
        }
        canaries[place].reports.append((name, report.logprob))
        compare(canaries[place])
    }

    /// A version that a worker can have been asked to load by now.
    private func isHandedOut(_ adapter: AdapterReference) -> Bool {
        adapter == state.merged || state.heads.contains { $0.reference == adapter }
            || state.stageHeads.contains { $0.reference == adapter }
            || tracks.contains { track in
                track.head?.reference == adapter || track.progress.start == adapter
                    || track.progress.recent.contains(adapter)
            }
    }

    private func isOurs(_ adapter: AdapterReference) -> Bool {
        adapter.name == state.merged?.name || plan.adapters.contains { $0.name == adapter.name }
    }

    /// With two different numbers nobody knows who is right, so both are named; where more agree, the others are given up.
    /// Once any of them has brought results, those alone have a voice: a crowd of newcomers cannot have workers sent away.
    private mutating func compare(_ ledger: CanaryLedger) {
        func agree(_ left: Double, _ right: Double) -> Bool { abs(left - right) <= Limits.canaryDifference }
        guard let last = ledger.reports.last,
            let other = ledger.reports.first(where: { !agree($0.logprob, last.logprob) })
        else { return }
        let who = ledger.adapter.map { "\($0.name) v\($0.version)" } ?? "the base model"
        log(
            .error, "run", "canary-differs",
            [
                .init("adapter", .text(who)), .init("worker", .text(last.worker.text)),
                .init("logprob", .double(last.logprob)), .init("other_worker", .text(other.worker.text)),
                .init("other_logprob", .double(other.logprob)),
                .init("mend", .text("one of them computes with other weights: restart it, and compare their models")),
            ])
        let proven = ledger.reports.filter { workers[$0.worker]?.isProven == true }
        let voices = proven.isEmpty ? ledger.reports : proven
        let support = ledger.reports.map { report in voices.count { agree($0.logprob, report.logprob) } }
        let most = support.max() ?? 0
        guard most >= 2 else { return }
        for (report, count) in zip(ledger.reports, support) where count < most {
            dismiss(report.worker, reason: "its canary of \(who) is \(report.logprob), others agree on another")
        }
    }

    /// The failure that looks like slow learning: an engine that took the adapter and samples without it.
    private mutating func warnIfLikeBase(_ report: CanaryReport, from name: Name) {
        guard let adapter = report.adapter, adapter.version > 0,
            let base = canaries.first(where: { $0.adapter == nil })?.reports.last, base.logprob == report.logprob
        else { return }
        log(
            .warn, "run", "canary-like-base",
            [
                .init("worker", .text(name.text)), .init("adapter", .text(adapter.name.text)),
                .init("version", .int(adapter.version)), .init("logprob", .double(report.logprob)),
                .init("why", .text("it scores the canary as the base model does: is the adapter applied?")),
            ])
    }
}
