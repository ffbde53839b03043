import MMedAlgorithms
import MMedCore
import MMedProtocol

// Handing out work.
extension CoordinatorCore {
    /// Gives every worker one lease in turn until credits or work are used up, so that none hoards while another idles.
    mutating func grantLeases() {
        guard !isDraining, ending == nil else { return }
        // Counted once: no grant changes who has asked for work.
        var hands: Int?
        var isGranting = (hasOpenWork || hasRipeCheck) && workers.values.contains { $0.credits > 0 }
        while isGranting {
            isGranting = false
            for name in workerNames {
                guard let worker = workers[name], worker.credits > 0, !mustRest(worker),
                    worker.isProven || worker.leases.count < CoordinatorCore.leasesOnProbation
                else { continue }
                let isGranted =
                    switch worker.hello.role {
                    case .rollout: grantSlots(to: name, &hands) || grantChecks(to: name)
                    case .learner: grantShard(to: name, worker) || grantChecks(to: name)
                    }
                isGranting = isGranting || isGranted
            }
        }
    }

    private var hasOpenWork: Bool {
        for track in tracks.indices {
            if tracks[track].openSlots > 0 { return true }
            if tracks[track].steps.first?.shards.contains(where: \.status.isOpen) == true { return true }
        }
        return false
    }

    /// After a failure a worker stands back for a while, unless nobody else could do its work.
    private func mustRest(_ worker: WorkerState) -> Bool {
        guard worker.strikes > 0, now < worker.restsUntil else { return false }
        return workers.values.contains { other in
            other.hello.role == worker.hello.role && other.strikes == 0 && other.canReplace(worker)
        }
    }

    mutating func newLease(_ work: LeaseWork, for name: Name) -> LeaseID {
        nextFence += 1
        let lease = LeaseID(fence: nextFence)
        leases[lease] = LeaseState(
            worker: name, work: work, deadline: now + plan.settings.leaseMilliseconds, grantedAt: now,
            lastDeadline: now + longestHold)
        workers[name]?.leases.append(lease)
        workers[name]?.credits -= 1
        moved()
        return lease
    }

    private mutating func grantSlots(to name: Name, _ hands: inout Int?) -> Bool {
        guard openSlots > 0 else { return false }
        let known = hands ?? rolloutsAsking
        hands = known
        let taken = pickSlots(for: known)
        guard !taken.isEmpty else { return false }
        let lease = newLease(.slots(taken.map { slot(at: $0).id }), for: name)
        rememberAsked(taken, under: lease)
        var questions: [QuestionWork] = []
        var last: SlotPlace?
        for place in taken {
            set(.leased(lease), at: place)
            let id = slot(at: place).id
            if let last, (last.track, last.step, last.question) == (place.track, place.step, place.question) {
                questions[questions.count - 1].slots.append(id)
            } else {
                let step = tracks[place.track].steps[place.step]
                let question = step.questions[place.question]
                questions.append(
                    QuestionWork(
                        adapter: asked(place.track, step: place.step), prefixIds: question.prefixIds,
                        suffixIds: question.suffixIds,
                        sampling: stage.sampling, reward: question.reward, slots: [id]))
            }
            last = place
        }
        let message = RolloutLease(
            lease: lease, durationMilliseconds: Int(plan.settings.leaseMilliseconds), questions: questions)
        actions.append(.send(name, .rollout(message)))
        return true
    }

    /// The slots of the next lease: whole questions where they fit, from the tracks that are furthest behind.
    private func pickSlots(for hands: Int) -> [SlotPlace] {
        let limit = fairShare(of: hands)
        var taken: [SlotPlace] = []
        var bytes = 0
        // Beside the tracks: a comparison that reached into them would copy the core each time.
        var behind: [(steps: Int, track: Int)] = []
        for track in tracks.indices where tracks[track].openSlots > 0 {
            behind.append((tracks[track].progress.committedSteps, track))
        }
        behind.sort { $0 < $1 }
        for (_, track) in behind {
            for step in tracks[track].steps.indices where tracks[track].steps[step].openSlots > 0 {
                let open = tracks[track].steps[step]
                for question in open.firstOpen..<open.slots.count where open.openPerQuestion[question] > 0 {
                    // A question is cut only when it is larger than a whole lease: its prefix is computed once a lease.
                    bytes += Batching.leaseBytes(of: open.questions[question])
                    let fits =
                        taken.count + open.openPerQuestion[question] <= limit && bytes <= Batching.leaseBytes
                    if !taken.isEmpty && !fits { return taken }
                    for slot in open.slots[question].indices where open.slots[question][slot].status.isOpen {
                        taken.append(SlotPlace(track: track, step: step, question: question, slot: slot))
                        if taken.count == limit { return taken }
                    }
                }
            }
        }
        return taken
    }

    /// A lease takes at most its equal part of what is open, among those that have ever asked for work.
    private func fairShare(of hands: Int) -> Int {
        max(1, min(plan.settings.slotsPerLease, (openSlots + hands - 1) / hands))
    }

    private var openSlots: Int {
        var open = 0
        for track in tracks.indices { open += tracks[track].openSlots }
        return open
    }

    private var rolloutsAsking: Int {
        max(1, workers.values.reduce(0) { $0 + ($1.hello.role == .rollout && $1.hasAsked ? 1 : 0) })
    }

    private mutating func grantShard(to name: Name, _ worker: WorkerState) -> Bool {
        for track in tracks.indices {
            guard let step = tracks[track].steps.first, let head = tracks[track].head,
                worker.holds(head.reference.name),
                let shard = step.shards.firstIndex(where: { $0.status.isOpen })
            else { continue }
            let lease = newLease(.shard(step.shards[shard].id), for: name)
            tracks[track].steps[0].shards[shard].status = .leased(lease)
            actions.append(.send(name, .gradient(gradientLease(lease, step.shards[shard], track: track, step: step))))
            return true
        }
        return false
    }

    func gradientLease(_ lease: LeaseID, _ shard: ShardState, track: Int, step: StepState) -> GradientLease {
        guard let head = tracks[track].head else { preconditionFailure("track \(track) learns without an adapter") }
        let isPolicy = stage.kind == .reinforce
        // Only a later update of a step whose samples are older than its start needs the start's log-probs computed anew.
        let needsProx =
            isPolicy && plan.loss.prox == .step && shard.id.update > 0
            && (needsStart(shard, step) || plan.loss.target == .stripped)
        return GradientLease(
            lease: lease, durationMilliseconds: Int(plan.settings.leaseMilliseconds), shard: shard.id,
            adapter: head.reference, reference: isPolicy && plan.loss.klCoefficient > 0 ? frozen(track) : nil,
            prox: needsProx ? step.learningBase : nil, objective: isPolicy ? .policy(plan.loss) : .supervised,
            temperature: isPolicy ? stage.sampling.temperature : 1, microbatches: shard.microbatches)
    }

    /// The policy of the divergence term: the adapter as the stage found it.
    private func frozen(_ track: Int) -> AdapterReference? {
        tracks[track].progress.start
            ?? state.stageHeads.last { $0.reference.name == tracks[track].plan.specialty }?.reference
            ?? tracks[track].head?.reference
    }
}
