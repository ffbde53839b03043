import MMedAlgorithms
import MMedCore
import MMedProtocol

// Updates: cutting them into shards, summing what comes back, committing.
extension CoordinatorCore {
    /// Turns what a track's oldest step sampled, or its supervised targets, into the trees of its updates.
    mutating func prepareLearning(_ track: Int) {
        guard let step = tracks[track].steps.first, let head = tracks[track].head else { return }
        let stepPlan = tracks[track].plan.steps[step.step]
        let count = stepPlan.learningRates.count
        let updates =
            stage.kind == .supervise
            ? (0..<count).map { part in
                Array(stepPlan.examples[cut(stepPlan.examples.count, into: count, part: part)])
            }
            : policyUpdates(track: track, count: count)
        guard ending == nil else { return }
        tracks[track].steps[0].learningBase = head.reference
        tracks[track].steps[0].updates = updates.map { trees in trees.filter { !$0.tree.paths.isEmpty } }
        tracks[track].steps[0].phase = .between(next: 0)
    }

    /// The `part`-th of `count` successive parts of nearly equal size.
    func cut(_ size: Int, into count: Int, part: Int) -> Range<Int> { size * part / count..<size * (part + 1) / count }

    /// Begins the next update of a track's oldest step that has something to learn from; false while it must wait for it.
    /// Completes the step, and says true, when there is none; says true, too, when a former process has made it.
    mutating func beginUpdate(_ next: Int, track: Int) -> Bool {
        let step = tracks[track].steps[0]
        guard let update = step.updates.indices.first(where: { $0 >= next && !step.updates[$0].isEmpty }) else {
            if step.updates.allSatisfy(\.isEmpty) {
                let why = stage.kind == .supervise ? "it has no examples" : "every advantage is 0"
                log(
                    .info, scope(track), step: step.step, "no-signal", [.init("why", .text(why + ", nothing to learn"))]
                )
            }
            completeStep(track)
            return true
        }
        guard !isDraining else { return false }
        if takeOver(update, track: track) { return true }
        let trees = step.updates[update]
        let shards = Batching.shards(
            of: trees, count: Batching.shardCount(of: trees, atLeast: plan.settings.gradientShards),
            microbatchTokens: plan.settings.microbatchTokens)
        tracks[track].steps[0].phase = .learning(update: update)
        tracks[track].steps[0].shards = shards.enumerated().map { index, microbatches in
            ShardState(
                id: ShardID(
                    stage: Int32(state.stage), track: Int32(track), step: Int32(step.step), update: Int32(update),
                    shard: Int32(index)), microbatches: microbatches)
        }
        return false
    }

    /// Goes on from what the journal says that an update made: made again by other learners it might be another, whose
    /// processors round otherwise or which do not lie as the first did.
    private mutating func takeOver(_ update: Int, track: Int) -> Bool {
        let step = tracks[track].steps[0].step
        let place = StepPlace(stage: state.stage, track: track, step: step)
        guard let recorded = openWork.updates[.init(place: place, update: update)], openWork.isKept(recorded),
            recorded.base == tracks[track].head?.reference
        else { return false }
        openWork.updates[.init(place: place, update: update)] = nil
        tracks[track].head = recorded.result.head
        let made = recorded.result.head.reference
        log(
            .info, scope(track), step: step, "update-kept",
            [.init("version", .int(made.version)), .init("digest", .text(made.digest.short))])
        tracks[track].steps[0].phase = .between(next: update + 1)
        rememberVersion(track)
        moved()
        return true
    }

    mutating func takeGradient(
        _ id: ShardID, _ statistics: ShardStatistics, _ digest: Digest?, of lease: LeaseID, from name: Name
    ) {
        if isChecking(id, under: lease, from: name) { return takeCheck(id, digest, of: lease, from: name) }
        workers[name]?.lastHeard = now
        guard awaits(id, under: lease, from: name), let place = place(of: id) else {
            log(
                .warn, "run", "late-gradient",
                [
                    .init("worker", .text(name.text)), .init("step", .int(Int(id.step) + 1)),
                    .init("shard", .int(Int(id.shard))),
                ])
            return
        }
        close(lease)
        workers[name]?.prove()
        tracks[place.track].steps[0].shards[place.shard].status = .received(statistics)
        sign(place, by: name, digest)
        moved()
    }

    /// Has the update of a track's oldest step applied, once every shard is here and none waits for a check.
    mutating func orderUpdate(_ track: Int) {
        guard let step = tracks[track].steps.first, case .learning(let update) = step.phase,
            step.shards.allSatisfy(\.status.isReceived), let head = tracks[track].head,
            !awaitsChecks(track: track, step: 0, .learner)
        else { return }
        tracks[track].steps[0].phase = .committing(update: update)
        actions.append(
            .apply(
                UpdateOrder(
                    shards: step.shards.map(\.id), base: head,
                    learningRate: tracks[track].plan.steps[step.step].learningRates[update])))
    }

    /// The track and update that an order belongs to, if it is still the one being committed.
    private func committing(_ order: UpdateOrder) -> (track: Int, update: Int)? {
        guard let first = order.shards.first, let place = place(of: first),
            case .committing(let update) = tracks[place.track].steps[0].phase, order.base == tracks[place.track].head
        else { return nil }
        return (place.track, update)
    }

    mutating func commit(_ order: UpdateOrder, _ result: UpdateResult) {
        guard let (track, update) = committing(order) else { return }
        record(order, result, update: update, track: track)
        guard ending == nil else { return }
        logUpdate(result, update: update, track: track)
        tracks[track].head = result.head
        if let moments = result.head.momentsDigest {
            actions.append(
                .broadcast(
                    UpdateAnnouncement(
                        base: order.base.reference, result: result.head.reference, numbers: result.numbers,
                        gradientDigest: result.gradientDigest, momentsDigest: moments)))
        }
        finishUpdate(order, update: update, track: track)
    }

    private mutating func record(_ order: UpdateOrder, _ result: UpdateResult, update: Int, track: Int) {
        let step = tracks[track].steps[0].step
        let place = StepPlace(stage: state.stage, track: track, step: step)
        if let recorded = openWork.updates.removeValue(forKey: .init(place: place, update: update)) {
            let (made, before) = (result.head.reference, recorded.result.head.reference)
            if made == before { return }
            return contradict(
                "update \(update + 1) of \(scope(track)) step \(step + 1) made \(made.digest.short)"
                    + ", and \(before.digest.short) before")
        }
        let stepPlan = tracks[track].plan.steps[step]
        let part = cut(stepPlan.exampleIds.count, into: stepPlan.learningRates.count, part: update)
        actions.append(
            .record(
                .update(
                    RecordedUpdate(
                        place: place, update: update, base: order.base.reference, result: result,
                        examples: Array(stepPlan.exampleIds[part])))))
    }

    mutating func skipUpdate(_ order: UpdateOrder, reason: String) {
        guard let (track, update) = committing(order) else { return }
        log(
            .warn, scope(track), step: tracks[track].steps[0].step, "update-refused",
            [.init("reason", .text(reason)), .init("kept", .text("the adapter as it was"))])
        finishUpdate(order, update: update, track: track)
    }

    private mutating func finishUpdate(_ order: UpdateOrder, update: Int, track: Int) {
        for shard in order.shards { actions.append(.forgetGradient(shard)) }
        tracks[track].steps[0].shards = []
        tracks[track].steps[0].phase = .between(next: update + 1)
        rememberVersion(track)
        moved()
    }

    private mutating func logUpdate(_ result: UpdateResult, update: Int, track: Int) {
        let step = tracks[track].steps[0]
        let sum = total(of: step.shards)
        var fields: [LogEntry.Field] = [.init("of", .int(tracks[track].plan.steps.count))]
        if step.updates.count > 1 { fields.append(.init("update", .text("\(update + 1)/\(step.updates.count)"))) }
        fields += [
            .init("loss", .double(sum.loss)), .init("grad_norm", .double(result.gradientNorm)),
            .init("lr", .double(result.numbers.learningRate)), .init("tokens", .int(sum.computedTokens)),
            .init("loss_tokens", .int(sum.lossTokens)),
        ]
        if sum.computeMilliseconds > 0 {
            let rate = Double(sum.computedTokens) * 1_000 / Double(sum.computeMilliseconds)
            fields.append(.init("learner_tok_s", .double(rate)))
        }
        if stage.kind == .reinforce {
            fields.append(.init("logprob_gap", .double(sum.logprobGapMax)))
            fields.append(.init("clipped", .int(sum.clippedTokens)))
            if plan.loss.klCoefficient > 0 {
                fields.append(.init("kl", .double(sum.klSum / Double(max(1, sum.lossTokens)))))
            }
        }
        fields += [
            .init("version", .int(result.head.reference.version)),
            .init("digest", .text(result.head.reference.digest.short)),
            .init("step_s", .double(Double(now.since(step.openedAt)) / 1_000)),
        ]
        log(.info, scope(track), step: step.step, "update", fields)
        metric(scope(track), step: step.step, "update", fields)
    }

    /// In shard order, so that the sums have the same bits whoever computed the shards.
    private func total(of shards: [ShardState]) -> ShardStatistics {
        var sum = ShardStatistics()
        for shard in shards {
            guard case .received(let part) = shard.status else { continue }
            sum.loss += part.loss
            sum.computedTokens += part.computedTokens
            sum.lossTokens += part.lossTokens
            sum.clippedTokens += part.clippedTokens
            sum.klSum += part.klSum
            sum.logprobGapMax = max(sum.logprobGapMax, part.logprobGapMax)
            sum.computeMilliseconds += part.computeMilliseconds
        }
        return sum
    }
}
