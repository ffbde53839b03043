import MMedCore
import MMedProtocol

// What differing answers prove. With two of them nobody knows who lies: a third worker decides, or the one that does not say
// the same when it is asked again gives itself away.
extension CoordinatorCore {
    mutating func hear(_ finding: Finding, on subject: CheckSubject, from name: Name) {
        guard var check = spot.open[subject] else { return }
        check.lease = nil
        let new = statement(finding, of: name)
        if let own = check.statements.firstIndex(where: { isSameParty($0, name) }) {
            let isSame = check.statements[own].finding.agrees(with: finding)
            if isSame { check.statements[own].isRepeated = true }
            spot.open[subject] = check
            if !isSame { quarantine(check.statements[own], subject, "it gave two answers for \(subject.description)") }
            return
        }
        if let author = check.statements.first, !author.finding.agrees(with: finding) {
            if !check.isDisputed { spot.tally.differed += 1 }
            log(
                .error, "run", "spot-check-differs",
                [
                    .init("what", .text(subject.description)), .init("author", .text(author.worker.text)),
                    .init("checker", .text(name.text)),
                    .init("why", .text("one of them did not compute it; others are asked")),
                ])
        }
        check.statements.append(new)
        spot.open[subject] = check
        judge(subject)
    }

    /// Two parties that agree outweigh each that stands alone.
    private mutating func judge(_ subject: CheckSubject) {
        guard let check = spot.open[subject] else { return }
        let truth = check.statements.first { statement in
            check.statements.count { $0.finding.agrees(with: statement.finding) } > 1
        }
        guard let truth else { return }
        let liars = check.statements.filter { !$0.finding.agrees(with: truth.finding) }
        withdraw(subject)
        if liars.isEmpty {
            spot.passed += 1
            spot.tally.agreed += 1
        }
        for liar in liars {
            quarantine(liar, subject, "others agree that \(subject.description) comes to something else")
        }
    }

    // MARK: Waiting

    /// An evaluation is over as a whole.
    mutating func evaluationAwaitsChecks(_ track: Int) -> Bool {
        var isWaiting = false
        for step in tracks[track].steps.indices where awaitsChecks(track: track, step: step, .rollout) {
            isWaiting = true
        }
        return isWaiting
    }

    /// True while a step must wait for checks of its paths or shards. It waits only for somebody who is there and can answer:
    /// what nobody else can check is let through, and that is said once.
    mutating func awaitsChecks(track: Int, step: Int, _ role: WorkerRole) -> Bool {
        guard !spot.open.isEmpty else { return false }
        var isWaiting = false
        // Put in order once they are few: every event comes by here.
        let awaited = spot.open.keys.filter { subject in
            subject.role == role && stepPlace(of: subject).map { $0 == (track, step) } ?? true
        }
        for subject in awaited.sorted() where ending == nil {
            guard stepPlace(of: subject) != nil else {
                withdraw(subject)
                continue
            }
            guard var check = spot.open[subject] else { continue }
            let since = check.waitsSince ?? now
            check.waitsSince = since
            spot.open[subject] = check
            if check.lease == nil, !awaitsAnswer(subject, check, now.since(since)) { continue }
            isWaiting = true
        }
        return isWaiting
    }

    private mutating func awaitsAnswer(_ subject: CheckSubject, _ check: SpotCheck, _ waited: UInt64) -> Bool {
        let hasThird = hasThird(check, subject)
        if check.isDisputed {
            if !hasThird && mustRepeat(check).isEmpty { return staysUndecided(subject, check, waited) }
            // Somebody could decide it and does not.
            if waited >= plan.settings.noWorkersMilliseconds + 2 * longestHold { end(.noWorkers(subject.role)) }
            return true
        }
        // A worker that never answers must not hold the step.
        let isPatient = check.failures <= plan.settings.retries && waited < 2 * plan.settings.leaseMilliseconds
        if hasThird && isPatient { return true }
        if !hasThird && mayComeBack(subject.role) { return true }
        letThrough(subject, why: hasThird ? "nobody answered" : idleReason(subject))
        return false
    }

    /// After a restart nobody is missing who has not been silent for as long as would make it so, unless all who belong to
    /// the run are here. The first wait is said: nothing else moves meanwhile.
    private mutating func mayComeBack(_ role: WorkerRole) -> Bool {
        guard now < spot.settlesAt else { return false }
        if let expected = plan.settings.workersExpected?[role], present(role) >= expected { return false }
        if spot.said[role, default: []].insert("returning").inserted {
            log(
                .info, "run", "spot-check-waits",
                [
                    .init("role", .text(role.rawValue)), .init("for", .text("workers of the coordinator before")),
                    .init("seconds", .double(Double(spot.settlesAt.since(now)) / 1_000)),
                ])
        }
        return true
    }

    private func present(_ role: WorkerRole) -> Int {
        workers.values.reduce(0) { $0 + ($1.hello.role == role ? 1 : 0) }
    }

    private func idleReason(_ subject: CheckSubject) -> String {
        present(subject.role) < 2 ? "one-worker" : "no-other-worker-of-its-kind"
    }

    private mutating func letThrough(_ subject: CheckSubject, why: String) {
        withdraw(subject)
        spot.tally.letThrough += 1
        guard spot.said[subject.role, default: []].insert(why).inserted else { return }
        // A lone worker is how most runs on one machine are; among several a missing judge is worth a warning.
        log(
            why == "one-worker" ? .info : .warn, "run", "spot-check-idle",
            [
                .init("role", .text(subject.role.rawValue)), .init("reason", .text(why)),
                .init("mend", .text("a second \(subject.role.rawValue) worker on an equal processor can check it")),
            ])
    }

    /// Both stand by what they said and nobody else is there. A side that is gone has no say: an absent author's work is done
    /// again, an absent checker's word is forgotten. With both here the step waits for a third, for as long as a run waits
    /// for a worker that it needs.
    private mutating func staysUndecided(_ subject: CheckSubject, _ check: SpotCheck, _ waited: UInt64) -> Bool {
        guard let author = check.statements.first else { return false }
        if workers[author.worker] == nil {
            redo(subject, author)
            return true
        }
        let present = check.statements.filter { workers[$0.worker] != nil }
        if present.count < check.statements.count {
            spot.open[subject]?.statements = present
            if present.count == 1 { letThrough(subject, why: "one-worker") }
            return true
        }
        if !check.isNamed {
            spot.open[subject]?.isNamed = true
            spot.open[subject]?.waitsSince = now
            log(
                .error, "run", "spot-check-undecided",
                [
                    .init("what", .text(subject.description)),
                    .init("workers", .text(check.statements.map(\.worker.text).joined(separator: ","))),
                    .init("mend", .text("start one more \(subject.role.rawValue) worker, or end the one that lies")),
                ])
        } else if waited >= plan.settings.noWorkersMilliseconds {
            end(.noWorkers(subject.role))
        }
        return true
    }
}
