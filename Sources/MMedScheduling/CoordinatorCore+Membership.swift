import MMedAlgorithms
import MMedCore
import MMedProtocol

/// What becomes of the paths of a step while its groups close.
struct Membership {
    let step: StepState
    /// The update that each question belongs to.
    var updates: [Int?]
    private var taken: [Int: (group: GroupAdvantages, uses: [PathUse])] = [:]

    init(_ step: StepState) {
        self.step = step
        updates = Array(repeating: nil, count: step.questions.count)
    }

    /// A question that is learned from; its samples stand in slot order.
    mutating func take(_ group: GroupAdvantages, _ uses: [PathUse], question: Int) {
        taken[question] = (group, uses)
    }

    /// Every slot of the step, in slot order.
    var members: [GroupMember] {
        step.slots.indices.flatMap { question in
            step.slots[question].indices.map { slot in
                var member = GroupMember(
                    slot: step.slots[question][slot].id, update: updates[question], advantage: 0, use: .masked)
                if let (group, uses) = taken[question] {
                    member.advantage = group.samples[slot].advantage
                    member.use = uses[slot]
                }
                if step.replaced[question] { member.use = .replaced }
                if case .failed = step.slots[question][slot].status { member.use = .missing }
                return member
            }
        }
    }
}

// The moment at which a step's groups close.
extension CoordinatorCore {
    /// What becomes of each path of a question that is learned from, in slot order.
    func uses(
        _ step: StepState, question: Int, _ group: GroupAdvantages, _ weights: [Double], track: Int
    ) -> [PathUse] {
        let current = tracks[track].head?.reference.version ?? 0
        return group.samples.enumerated().map { place, sample in
            guard case .done(let path, _) = step.slots[question][place].status else { return .missing }
            if sample.isMasked { return .masked }
            let isAdmitted = admitsSample(
                sampled: path.trajectory.version, current: current, lagMax: stalenessMax(track))
            if !isAdmitted { return .stale }
            // Without a divergence term a path of advantage 0 has a gradient of exactly 0.
            let matters = sample.advantage != 0 || plan.loss.klCoefficient > 0
            return weights[place] != 0 && matters ? .trained : .noSignal
        }
    }

    /// Membership is a decision: it is recorded once, and a step that is done again must decide the same.
    mutating func close(_ membership: Membership, track: Int) {
        let place = StepPlace(stage: state.stage, track: track, step: membership.step.step)
        let closed = ClosedGroups(place: place, members: membership.members)
        switch openWork.groups.removeValue(forKey: place) {
        case nil: actions.append(.record(.groups(closed)))
        case closed: break
        case .some: contradict("the groups of \(scope(track)) step \(place.step + 1) close in another way")
        }
    }
}
