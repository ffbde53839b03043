import MMedAlgorithms
import MMedCore
import MMedProtocol

// Updates: cutting them into shards, summing what comes back, committing.
extension CoordinatorCore {
    /// Begins to learn from the oldest step of a track when its paths are closed and no other update is under way.
    mutating func learnNext(track: Int) {
        guard let step = tracks[track].steps.first, case .waitingToLearn = step.phase,
            let adapterIndex = tracks[track].adapterIndex
        else { return }
        let trees = stage.kind == .supervise ? tracks[track].plan.steps[step.step].examples : policyTrees(track: track)
        let rates = tracks[track].plan.steps[step.step].learningRates
        tracks[track].steps[0].learningBase = state.heads[adapterIndex].reference
        tracks[track].steps[0].updates = cut(trees, into: rates.count)
        beginUpdate(0, track: track)
    }

    /// Successive updates of a step: questions in order, in parts of nearly equal count.
    private func cut(_ trees: [LearningTree], into count: Int) -> [[LearningTree]] {
        guard count > 1 else { return [trees] }
        return (0..<count).map { part in
            Array(trees[trees.count * part / count..<trees.count * (part + 1) / count])
        }
    }

    private mutating func beginUpdate(_ first: Int, track: Int) {
        let step = tracks[track].steps[0]
        guard let update = step.updates.indices.first(where: { $0 >= first && !step.updates[$0].isEmpty }) else {
            if first == 0 {
                log(
                    .info, scope(tracks[track]), step: step.step, "no-signal",
                    [.init("why", .text("every advantage is 0, so there is nothing to learn"))])
            }
            completeStep(track: track, at: lastMovement)
            return
        }
        let shards = Batching.shards(
            of: step.updates[update], count: plan.settings.gradientShards,
            microbatchTokens: plan.settings.microbatchTokens)
        tracks[track].steps[0].phase = .learning(update: update)
        tracks[track].steps[0].shards = shards.enumerated().map { index, microbatches in
            ShardState(
                id: ShardID(
                    stage: Int32(state.stage), track: Int32(track), step: Int32(step.step), update: Int32(update),
                    shard: Int32(index)), microbatches: microbatches)
        }
    }

    mutating func takeGradient(
        _ id: ShardID, _ statistics: ShardStatistics, of lease: LeaseID, from name: Name, at now: Tick
    ) {
        workers[name]?.lastHeard = now
        guard let held = leases[lease], held.worker == name, let place = place(of: id),
            case .leased(lease) = tracks[place.track].steps[place.step].shards[place.shard].status
        else {
            log(
                .warn, "run", "late-gradient",
                [
                    .init("worker", .text(name.text)), .init("step", .int(Int(id.step))),
                    .init("shard", .int(Int(id.shard))),
                ])
            return
        }
        leases[lease] = nil
        workers[name]?.leases.removeAll { $0 == lease }
        tracks[place.track].steps[place.step].shards[place.shard].status = .received(statistics)
        moved(at: now)
        let step = tracks[place.track].steps[place.step]
        let isWhole = step.shards.allSatisfy { shard in
            if case .received = shard.status { return true }
            return false
        }
        guard isWhole, case .learning(let update) = step.phase, let index = tracks[place.track].adapterIndex else {
            return
        }
        tracks[place.track].steps[place.step].phase = .committing(update: update)
        actions.append(
            .apply(
                UpdateOrder(
                    shards: step.shards.map(\.id), base: state.heads[index],
                    learningRate: tracks[place.track].plan.steps[step.step].learningRates[update])))
    }

    /// The track and update that an order belongs to, if it is still the one being committed.
    private func committing(_ order: UpdateOrder) -> (track: Int, update: Int)? {
        guard let shard = order.shards.first, Int(shard.stage) == state.stage,
            tracks.indices.contains(Int(shard.track)), let step = tracks[Int(shard.track)].steps.first,
            step.step == Int(shard.step), case .committing(let update) = step.phase, update == Int(shard.update)
        else { return nil }
        return (Int(shard.track), update)
    }

    mutating func commit(_ order: UpdateOrder, _ result: UpdateResult, at now: Tick) {
        guard let (track, update) = committing(order), let index = tracks[track].adapterIndex else { return }
        moved(at: now)
        logUpdate(result, order: order, track: track, at: now)
        state.heads[index] = result.head
        if let moments = result.head.momentsDigest {
            actions.append(
                .broadcast(
                    UpdateAnnouncement(
                        base: order.base.reference, result: result.head.reference, numbers: result.numbers,
                        gradientDigest: result.gradientDigest, momentsDigest: moments)))
        }
        for shard in order.shards { actions.append(.forgetGradient(shard)) }
        tracks[track].steps[0].shards = []
        beginUpdate(update + 1, track: track)
        continueTrack(track)
    }

    mutating func skipUpdate(_ order: UpdateOrder, reason: String, at now: Tick) {
        guard let (track, update) = committing(order) else { return }
        moved(at: now)
        log(
            .warn, scope(tracks[track]), step: tracks[track].steps[0].step, "update-refused",
            [.init("reason", .text(reason)), .init("kept", .text("the adapter as it was"))])
        for shard in order.shards { actions.append(.forgetGradient(shard)) }
        tracks[track].steps[0].shards = []
        beginUpdate(update + 1, track: track)
        continueTrack(track)
    }

    /// With a lag the next step may have been sampled while this one was learned.
    private mutating func continueTrack(_ track: Int) {
        guard tracks.indices.contains(track), !isDraining else { return }
        learnNext(track: track)
    }

    private mutating func logUpdate(_ result: UpdateResult, order: UpdateOrder, track: Int, at now: Tick) {
        let step = tracks[track].steps[0]
        var sum = ShardStatistics()
        for shard in step.shards {
            guard case .received(let part) = shard.status else { continue }
            sum.loss += part.loss
            sum.computedTokens += part.computedTokens
            sum.lossTokens += part.lossTokens
            sum.clippedTokens += part.clippedTokens
            sum.klSum += part.klSum
            sum.logprobGapMax = max(sum.logprobGapMax, part.logprobGapMax)
            sum.computeMilliseconds += part.computeMilliseconds
        }
        var fields: [LogEntry.Field] = [
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
            .init("of", .int(tracks[track].plan.steps.count)),
            .init("digest", .text(result.head.reference.digest.short)),
            .init("step_s", .double(Double(now.since(step.openedAt)) / 1_000)),
        ]
        log(.info, scope(tracks[track]), step: step.step, "update", fields)
        actions.append(
            .metric(LogEntry(.info, scope: scope(tracks[track]), step: step.step, event: "update", fields: fields)))
    }
}
