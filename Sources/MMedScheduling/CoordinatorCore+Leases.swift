import MMedAlgorithms
import MMedCore
import MMedProtocol

// Handing out work.
extension CoordinatorCore {
    struct SlotPlace {
        let track: Int, step: Int, question: Int, slot: Int
    }

    struct ShardPlace {
        let track: Int, step: Int, shard: Int
    }

    /// Where a slot lives while its step is open; nil when the step is over or was never there.
    func place(of id: SlotID) -> SlotPlace? {
        guard Int(id.stage) == state.stage, tracks.indices.contains(Int(id.track)) else { return nil }
        let track = Int(id.track)
        guard let step = tracks[track].steps.firstIndex(where: { $0.step == Int(id.step) }),
            tracks[track].steps[step].slots.indices.contains(Int(id.question)),
            let slot = tracks[track].steps[step].slots[Int(id.question)].firstIndex(where: { $0.id == id })
        else { return nil }
        return SlotPlace(track: track, step: step, question: Int(id.question), slot: slot)
    }

    /// Where a shard lives while its update is under way.
    func place(of id: ShardID) -> ShardPlace? {
        guard Int(id.stage) == state.stage, tracks.indices.contains(Int(id.track)) else { return nil }
        let track = Int(id.track)
        guard let step = tracks[track].steps.firstIndex(where: { $0.step == Int(id.step) }),
            let shard = tracks[track].steps[step].shards.firstIndex(where: { $0.id == id })
        else { return nil }
        return ShardPlace(track: track, step: step, shard: shard)
    }

    mutating func grantLeases(at now: Tick) {
        guard !isDraining, !isFinished, state.stage < plan.stages.count else { return }
        for name in workers.keys.sorted() {
            while let worker = workers[name], worker.credits > 0, !isFinished {
                let granted =
                    switch worker.hello.role {
                    case .rollout: grantSlots(to: name, at: now)
                    case .learner: grantShard(to: name, worker.hello, at: now)
                    }
                if !granted { break }
            }
        }
    }

    private mutating func newLease(_ work: LeaseWork, for name: Name, at now: Tick) -> LeaseID {
        nextFence += 1
        let lease = LeaseID(fence: nextFence)
        leases[lease] = LeaseState(
            worker: name, work: work, deadline: now + plan.settings.leaseMilliseconds, grantedAt: now)
        workers[name]?.leases.append(lease)
        workers[name]?.credits -= 1
        moved(at: now)
        return lease
    }

    /// Leases whole questions where they fit, from the tracks that are furthest behind.
    private mutating func grantSlots(to name: Name, at now: Tick) -> Bool {
        let limit = fairShare()
        var taken: [SlotPlace] = []
        let order = tracks.indices.sorted { left, right in
            let (a, b) = (tracks[left].progress.committedSteps, tracks[right].progress.committedSteps)
            return a == b ? left < right : a < b
        }
        search: for track in order {
            for step in tracks[track].steps.indices {
                for question in tracks[track].steps[step].slots.indices {
                    let slots = tracks[track].steps[step].slots[question]
                    for slot in slots.indices where slots[slot].status.isOpen {
                        taken.append(SlotPlace(track: track, step: step, question: question, slot: slot))
                        if taken.count == limit { break search }
                    }
                }
            }
        }
        guard !taken.isEmpty else { return false }
        let ids = taken.map { tracks[$0.track].steps[$0.step].slots[$0.question][$0.slot].id }
        let lease = newLease(.slots(ids), for: name, at: now)
        var questions: [QuestionWork] = []
        var last: (track: Int, step: Int, question: Int)?
        for (place, id) in zip(taken, ids) {
            tracks[place.track].steps[place.step].slots[place.question][place.slot].status = .leased(lease)
            if let last, last == (place.track, place.step, place.question) {
                questions[questions.count - 1].slots.append(id)
                continue
            }
            last = (place.track, place.step, place.question)
            let step = tracks[place.track].steps[place.step]
            let question = step.questions[place.question]
            questions.append(
                QuestionWork(
                    adapter: step.adapter, prefixIds: question.prefixIds, suffixIds: question.suffixIds,
                    sampling: stage.sampling, reward: question.reward, slots: [id]))
        }
        actions.append(
            .send(
                name,
                .rollout(
                    RolloutLease(
                        lease: lease, durationMilliseconds: Int(plan.settings.leaseMilliseconds), questions: questions)
                )))
        return true
    }

    /// A lease takes at most its equal part of what is open, so that no worker idles while another hoards.
    private func fairShare() -> Int {
        var open = 0
        for track in tracks {
            for step in track.steps {
                for slots in step.slots { open += slots.reduce(0) { $0 + ($1.status.isOpen ? 1 : 0) } }
            }
        }
        let hands = workers.values.reduce(0) { $0 + ($1.hello.role == .rollout ? 1 : 0) }
        return max(1, min(plan.settings.slotsPerLease, (open + max(1, hands) - 1) / max(1, hands)))
    }

    private mutating func grantShard(to name: Name, _ hello: Hello, at now: Tick) -> Bool {
        for track in tracks.indices {
            guard let adapterIndex = tracks[track].adapterIndex else { continue }
            let head = state.heads[adapterIndex]
            guard hello.adapters.isEmpty || hello.adapters.contains(head.reference.name) else { continue }
            for step in tracks[track].steps.indices {
                let shards = tracks[track].steps[step].shards
                guard let shard = shards.firstIndex(where: { $0.status.isOpen }) else { continue }
                let lease = newLease(.shard(shards[shard].id), for: name, at: now)
                tracks[track].steps[step].shards[shard].status = .leased(lease)
                let message = gradientLease(lease, shards[shard], track: tracks[track], step: tracks[track].steps[step])
                actions.append(.send(name, .gradient(message)))
                return true
            }
        }
        return false
    }

    private func gradientLease(
        _ lease: LeaseID, _ shard: ShardState, track: TrackState, step: StepState
    ) -> GradientLease {
        let isPolicy = stage.kind == .reinforce
        let base = state.heads[track.adapterIndex ?? 0].reference
        // Only a later update of a step whose samples are older than its start needs the start's log-probs computed anew.
        let needsProx =
            isPolicy && plan.loss.prox == .step && shard.id.update > 0
            && (step.adapter != step.learningBase || plan.loss.target == .stripped)
        return GradientLease(
            lease: lease, durationMilliseconds: Int(plan.settings.leaseMilliseconds), shard: shard.id, adapter: base,
            reference: isPolicy && plan.loss.klCoefficient > 0 ? track.frozen : nil,
            prox: needsProx ? step.learningBase : nil,
            objective: isPolicy ? .policy(plan.loss) : .supervised,
            temperature: isPolicy ? stage.sampling.temperature : 1, microbatches: shard.microbatches)
    }
}
