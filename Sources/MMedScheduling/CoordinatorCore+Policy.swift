import MMedAlgorithms
import MMedCore
import MMedProtocol

// From closed groups to weighted prefix trees (docs/GBA.md).
extension CoordinatorCore {
    /// The trees of a track's oldest step: advantages in id order, weights with a Z that no cut changes.
    mutating func policyTrees(track: Int) -> [LearningTree] {
        let step = tracks[track].steps[0]
        let kept = step.questions.indices.filter { !step.replaced[$0] }
        let groups = kept.map { group(step, question: $0) }
        let advantages: StepAdvantages
        let weights: PathWeights
        do {
            advantages = try stepAdvantages(groups, settings: plan.advantages, blend: tracks[track].progress.blend)
            weights = try pathWeights(
                of: advantages.groups, settings: plan.loss, questionsPlanned: max(1, kept.count),
                completionTokensMax: stage.sampling.maxTokens)
        } catch {
            // The core made the groups itself, so an error here is its own.
            preconditionFailure("the core built a group that the algorithm refuses: \(error)")
        }
        tracks[track].progress.blend = advantages.nextBlend
        logGroups(step, advantages, track: track)
        var trees: [LearningTree] = []
        for (place, question) in kept.enumerated() {
            if let tree = policyTree(
                step, question: question, advantages.groups[place], weights.weights[place], track: track)
            {
                trees.append(tree)
            }
        }
        return trees
    }

    /// Question indices are unique in a step where ids may repeat, and zero-padding makes text order the id order.
    private func groupID(_ question: Int) -> String {
        let digits = String(question)
        return String(repeating: "0", count: max(0, 8 - digits.count)) + digits
    }

    private func group(_ step: StepState, question: Int) -> QuestionGroup {
        QuestionGroup(
            question: groupID(question),
            samples: step.slots[question].map { slot in
                var sample = RewardedSample(
                    question: groupID(question), guideline: Int(slot.id.guideline), sample: Int(slot.id.sample),
                    outcome: .failed(reason: "not sampled"))
                switch slot.status {
                case .done(let path):
                    sample.outcome = RewardOutcome(checking: path.parts.total)
                    sample.isCorrect = path.parts.isStrictCorrect
                    sample.completionTokens = path.trajectory.completionIds.count
                    sample.isTruncated = path.trajectory.stop == .budget
                case .failed(let reason): sample.outcome = .failed(reason: reason)
                case .open, .leased: break
                }
                return sample
            })
    }

    private func policyTree(
        _ step: StepState, question: Int, _ group: GroupAdvantages, _ weights: [Double], track: Int
    ) -> LearningTree? {
        let plan = step.questions[question]
        let isStripped = self.plan.loss.target == .stripped
        var result = LearningTree(
            tree: PromptTree(
                prefixIds: plan.prefixIds, suffixIds: isStripped ? [plan.plainSuffixIds] : plan.suffixIds, paths: []),
            targets: [])
        let current = tracks[track].adapterIndex.map { state.heads[$0].reference.version } ?? 0
        for (place, sample) in group.samples.enumerated() {
            // Without a divergence term a path of advantage 0 has a gradient of exactly 0.
            let matters = sample.advantage != 0 || self.plan.loss.klCoefficient > 0
            guard !sample.isMasked, weights[place] != 0, matters,
                case .done(let path) = step.slots[question][place].status
            else { continue }
            let lag = current - path.trajectory.version
            let mayLag = self.plan.settings.maxLag * max(1, self.plan.loss.updatesPerStep)
            guard admitsSample(sampled: path.trajectory.version, current: current, lagMax: mayLag) else { continue }
            result.tree.paths.append(
                TreePath(
                    suffix: isStripped ? 0 : sample.sample.guideline, completionIds: path.trajectory.completionIds))
            let mayReuse = self.plan.loss.updatesPerStep > 1 && lag == 0 && !isStripped
            result.targets.append(
                PathTarget(
                    weight: weights[place], advantage: sample.advantage, rollLogprobs: path.trajectory.logprobs,
                    proxLogprobs: mayReuse ? path.trajectory.logprobs : [], counts: true))
        }
        return result.targets.isEmpty ? nil : result
    }

    private mutating func logGroups(_ step: StepState, _ result: StepAdvantages, track: Int) {
        let counts = result.counts
        var tokens = 0
        var correct = 0
        for slots in step.slots {
            for slot in slots {
                guard case .done(let path) = slot.status else { continue }
                tokens += path.trajectory.completionIds.count
                correct += path.parts.isStrictCorrect ? 1 : 0
            }
        }
        var fields: [LogEntry.Field] = [
            .init("reward", .double(counts.meanReward)), .init("correct", .int(correct)),
            .init("paths", .int(counts.valid)), .init("failed", .int(counts.failed)),
            .init("tied_questions", .int(counts.tiedQuestions)), .init("tied_guidelines", .int(counts.tiedGuidelines)),
            .init("k_eff", .double(Double(counts.effectiveGuidelines) / Double(max(1, counts.questions)))),
            .init("lambda", .double(result.lambda)), .init("tokens", .int(tokens)),
        ]
        for (index, name) in (step.questions.first?.promptNames ?? []).enumerated() {
            fields.append(.init("reward_\(name)", .double(meanReward(of: index, in: result))))
        }
        log(.info, scope(tracks[track]), step: step.step, "groups-closed", fields)
        actions.append(
            .metric(LogEntry(.info, scope: scope(tracks[track]), step: step.step, event: "groups", fields: fields)))
    }

    private func meanReward(of guideline: Int, in result: StepAdvantages) -> Double {
        var sum = 0.0
        var count = 0
        for group in result.groups {
            for sample in group.samples where sample.sample.guideline == guideline {
                guard let reward = sample.sample.reward else { continue }
                sum += reward
                count += 1
            }
        }
        return count == 0 ? 0 : sum / Double(count)
    }
}
