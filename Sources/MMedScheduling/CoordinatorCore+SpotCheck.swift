public import MMedCore
public import MMedProtocol

// A fraction of what workers return is computed again by another one. The engine is bit-exact, so an honest answer is the
// same answer: a slot is sampled again as it was asked for, a shard is differentiated again, and neither result is counted.
extension CoordinatorCore {
    // MARK: Which

    /// The draw depends on the slot, the run's seed and a salt that workers do not know, on nothing else: a worker cannot tell
    /// what will be checked, and a resumed run checks the same.
    private func isDrawn(_ key: UInt64, _ domain: UInt64) -> Bool {
        guard plan.settings.spotCheck > 0 else { return false }
        return CounterRandom(key: plan.settings.spotSalt).uniform(key, domain) < plan.settings.spotCheck
    }

    func isChecked(_ id: SlotID) -> Bool { isDrawn(id.randomKey(seed: plan.seed), 1) }

    func isChecked(_ id: ShardID) -> Bool {
        let place = SlotID(
            stage: id.stage, track: id.track, step: id.step, question: id.update, guideline: id.shard, sample: 0)
        return isDrawn(place.randomKey(seed: plan.seed), 2)
    }

    // MARK: Opening

    /// Remembers who brought a path, and asks for a check of it when it is drawn.
    mutating func sign(_ place: SlotPlace, by name: Name) {
        guard case .done(let path, _) = slot(at: place).status else { return }
        tracks[place.track].steps[place.step].sign(question: place.question, slot: place.slot, by: name)
        let id = path.trajectory.slot
        guard isChecked(id), mayReopen(track: place.track, step: place.step) else { return }
        spot.open[.path(id)] = SpotCheck(statements: [statement(.path(path.trajectory), of: name)])
    }

    /// The same for a shard's gradient.
    mutating func sign(_ place: (track: Int, shard: Int), by name: Name, _ digest: Digest?) {
        tracks[place.track].steps[0].shards[place.shard].worker = name
        let id = tracks[place.track].steps[0].shards[place.shard].id
        guard let digest, isChecked(id) else { return }
        spot.open[.shard(id)] = SpotCheck(statements: [statement(.gradient(digest), of: name)])
    }

    func statement(_ finding: Finding, of name: Name) -> Statement {
        Statement(
            worker: name, party: party(of: name), key: workers[name]?.identity?.key, mark: workers[name]?.mark,
            finding: finding)
    }

    /// Processes of one key are one party: none of them can vouch for another.
    func party(of name: Name) -> Name { workers[name]?.identity?.name ?? name }

    func isSameParty(_ statement: Statement, _ name: Name) -> Bool {
        let party = party(of: name)
        return statement.worker == name || statement.party == party || self.party(of: statement.worker) == party
    }

    // MARK: Handing out

    /// The track and the step among its open ones; nil when the step is over.
    func stepPlace(of subject: CheckSubject) -> (track: Int, step: Int)? {
        switch subject {
        case .path(let id): place(of: id).map { ($0.track, $0.step) }
        case .shard(let id): place(of: id).map { ($0.track, 0) }
        }
    }

    /// Checks of a step's paths wait until none of its slots is open: they gather, and delay no path.
    private func isRipe(_ subject: CheckSubject) -> Bool {
        guard spot.open[subject]?.lease == nil, let place = stepPlace(of: subject) else { return false }
        if case .shard = subject { return true }
        return tracks[place.track].steps[place.step].openSlots == 0
    }

    var hasRipeCheck: Bool { spot.open.keys.contains(where: isRipe) }

    /// Only processors of one kind give the same bits, and the canary of the base model tells the kind.
    private func mayJudge(_ worker: WorkerState, _ check: SpotCheck, _ subject: CheckSubject) -> Bool {
        guard worker.hello.role == subject.role, worker.hasAsked, let mark = worker.mark,
            let author = check.statements.first, (author.mark ?? workers[author.worker]?.mark) == mark
        else { return false }
        if case .shard(let id) = subject, let adapter = adapterName(of: id), !worker.holds(adapter) { return false }
        return true
    }

    private func isThird(_ worker: WorkerState, _ check: SpotCheck, _ subject: CheckSubject) -> Bool {
        let name = worker.hello.name
        return mayJudge(worker, check, subject) && !check.excluded.contains(party(of: name))
            && !check.statements.contains { isSameParty($0, name) }
    }

    func hasThird(_ check: SpotCheck, _ subject: CheckSubject) -> Bool {
        workers.values.contains { isThird($0, check, subject) }
    }

    /// Where two differ and nobody else can tell, both are asked once more: who then says something else has lied.
    func mustRepeat(_ check: SpotCheck) -> [Name] {
        guard check.isDisputed else { return [] }
        return check.statements.filter { !$0.isRepeated && workers[$0.worker]?.hasAsked == true }.map(\.worker)
    }

    private func mayAnswer(_ worker: WorkerState, _ check: SpotCheck, _ subject: CheckSubject) -> Bool {
        if isThird(worker, check, subject) { return true }
        // What is cheap to ask comes first: this is asked of every worker and every check after each event.
        return mustRepeat(check).contains(worker.hello.name) && !hasThird(check, subject)
    }

    mutating func grantChecks(to name: Name) -> Bool {
        guard !spot.open.isEmpty, let worker = workers[name] else { return false }
        let ripe = spot.open.keys.filter { $0.role == worker.hello.role && isRipe($0) }.sorted()
        let mine = ripe.filter { subject in spot.open[subject].map { mayAnswer(worker, $0, subject) } ?? false }
        guard !mine.isEmpty else { return false }
        switch worker.hello.role {
        case .rollout: return grantPathChecks(mine, to: name, share: ripe.count)
        case .learner: return grantShardCheck(mine[0], to: name)
        }
    }

    private mutating func grantPathChecks(_ subjects: [CheckSubject], to name: Name, share: Int) -> Bool {
        let hands = max(1, workers.values.reduce(0) { $0 + ($1.hello.role == .rollout && $1.hasAsked ? 1 : 0) })
        let limit = max(1, min(plan.settings.slotsPerLease, (share + hands - 1) / hands))
        var taken: [CheckSubject] = []
        var questions: [QuestionWork] = []
        var bytes = 0
        var last: SlotPlace?
        for case .path(let id) in subjects {
            guard taken.count < limit, let place = place(of: id) else { break }
            let question = tracks[place.track].steps[place.step].questions[place.question]
            let adapter = sampledAdapter(place)
            if let last, (last.track, last.step, last.question) == (place.track, place.step, place.question),
                questions[questions.count - 1].adapter == adapter
            {
                questions[questions.count - 1].slots.append(id)
            } else {
                bytes += Batching.leaseBytes(of: question)
                guard taken.isEmpty || bytes <= Batching.leaseBytes else { break }
                questions.append(
                    QuestionWork(
                        adapter: adapter, prefixIds: question.prefixIds, suffixIds: question.suffixIds,
                        sampling: stage.sampling, reward: question.reward, slots: [id]))
            }
            taken.append(.path(id))
            last = place
        }
        guard !taken.isEmpty else { return false }
        let lease = newLease(.checks(taken), for: name)
        for subject in taken { spot.open[subject]?.lease = lease }
        let message = RolloutLease(
            lease: lease, durationMilliseconds: Int(plan.settings.leaseMilliseconds), questions: questions)
        actions.append(.send(name, .rollout(message)))
        return true
    }

    /// The version that a checked path was sampled by: where timing chooses versions, the one that the path itself names.
    private func sampledAdapter(_ place: SlotPlace) -> AdapterReference? {
        let step = tracks[place.track].steps[place.step]
        guard isFreeRunning, case .done(let path, _) = slot(at: place).status,
            let digest = path.trajectory.adapterDigest
        else { return step.adapter }
        return AdapterReference(
            name: tracks[place.track].plan.specialty, version: path.trajectory.version, digest: digest)
    }

    private mutating func grantShardCheck(_ subject: CheckSubject, to name: Name) -> Bool {
        guard case .shard(let id) = subject, let place = place(of: id) else { return false }
        let lease = newLease(.checks([subject]), for: name)
        spot.open[subject]?.lease = lease
        let step = tracks[place.track].steps[0]
        let message = gradientLease(lease, step.shards[place.shard], track: place.track, step: step)
        actions.append(.send(name, .gradient(message)))
        return true
    }

    // MARK: Answers

    /// True when the worker holds this lease to check something.
    public func isCheck(_ lease: LeaseID, of name: Name) -> Bool {
        guard let held = leases[lease], held.worker == name, case .checks = held.work else { return false }
        return true
    }

    /// True when the worker is to check this shard under this lease.
    func isChecking(_ id: ShardID, under lease: LeaseID, from name: Name) -> Bool {
        isCheck(lease, of: name) && spot.open[.shard(id)]?.lease == lease
    }

    /// What a check lease brought is held against what was taken, and never counted.
    mutating func takeChecks(_ paths: [JudgedTrajectory], of lease: LeaseID, from name: Name) {
        workers[name]?.lastHeard = now
        // The worker may forget them: were they lost now, the check would be made again.
        actions.append(.send(name, .trajectoriesRecorded(lease, paths.map(\.trajectory.slot))))
        let party = party(of: name)
        for path in paths.map(\.trajectory) {
            let subject = CheckSubject.path(path.slot)
            guard spot.open[subject]?.lease == lease, let place = place(of: path.slot) else { continue }
            if let refusal = mismatch(path, sampledAdapter(place)) ?? refusal(of: path, at: place) {
                spot.open[subject]?.lease = nil
                spot.open[subject]?.excluded.append(party)
                log(
                    .warn, "run", "paths-refused",
                    [
                        .init("worker", .text(name.text)), .init("paths", .int(1)),
                        .init("reason", .text("slot \(path.slot): \(refusal)")),
                    ])
                strike(name)
            } else {
                hear(.path(path), on: subject, from: name)
            }
        }
        closeIfChecked(lease)
    }

    mutating func takeCheck(_ id: ShardID, _ digest: Digest?, of lease: LeaseID, from name: Name) {
        workers[name]?.lastHeard = now
        if let digest { hear(.gradient(digest), on: .shard(id), from: name) } else { spot.open[.shard(id)] = nil }
        closeIfChecked(lease)
    }

    /// Ends a check lease under which nothing is left to say.
    func isOver(_ lease: LeaseID) -> Bool { !spot.open.values.contains { $0.lease == lease } }

    private mutating func closeIfChecked(_ lease: LeaseID) {
        if leases[lease] != nil, isOver(lease) { close(lease) }
        moved()
    }

    /// A check lease ended without its answers.
    mutating func giveUp(_ subjects: [CheckSubject], of lease: LeaseID, countsAsFailure: Bool) {
        for subject in subjects where spot.open[subject]?.lease == lease {
            spot.open[subject]?.lease = nil
            if countsAsFailure { spot.open[subject]?.failures += 1 }
        }
    }

    /// Takes a check off the books; whoever computes it may stop.
    mutating func withdraw(_ subject: CheckSubject) {
        guard let lease = spot.open.removeValue(forKey: subject)?.lease, let held = leases[lease], isOver(lease)
        else { return }
        close(lease)
        actions.append(.send(held.worker, .leaseRevoked(lease, reason: "what it checks is not needed any more")))
    }
}
