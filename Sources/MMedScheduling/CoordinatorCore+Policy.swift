import MMedAlgorithms
import MMedCore
import MMedProtocol

// From closed groups to weighted prefix trees (docs/GBA.md).
extension CoordinatorCore {
    /// The trees of a track's oldest step, in successive updates of whole questions: advantages over the step in id order,
    /// weights with the Z of each update, which no cut into shards changes.
    mutating func policyUpdates(track: Int, count: Int) -> [[LearningTree]] {
        let step = tracks[track].steps[0]
        let kept = step.questions.indices.filter { !step.replaced[$0] }
        let groups = kept.map { group(step, question: $0) }
        let needed = max(2, plan.settings.minimumValidSamples)
        let isLearned = groups.map { group in group.samples.reduce(0) { $0 + ($1.reward == nil ? 0 : 1) } >= needed }
        do {
            let learned = groups.indices.filter { isLearned[$0] }
            let advantages = try stepAdvantages(
                learned.map { groups[$0] }, settings: plan.advantages, blend: tracks[track].progress.blend)
            var updates: [[LearningTree]] = []
            var membership = Membership(step)
            for part in 0..<count {
                let range = cut(kept.count, into: count, part: part)
                let members = learned.indices.filter { range.contains(learned[$0]) }
                let weights = try pathWeights(
                    of: members.map { advantages.groups[$0] }, settings: plan.loss,
                    questionsPlanned: max(1, range.count), completionTokensMax: stage.sampling.maxTokens)
                for index in range { membership.updates[kept[index]] = part }
                updates.append(
                    zip(members, weights.weights).map { member, weights in
                        let question = kept[learned[member]]
                        let uses = uses(step, question: question, advantages.groups[member], weights, track: track)
                        membership.take(advantages.groups[member], uses, question: question)
                        return policyTree(
                            step, question: question, advantages.groups[member], weights, uses,
                            head: tracks[track].head?.reference)
                    })
            }
            close(membership, track: track)
            guard ending == nil else { return [] }
            tracks[track].progress.blend = advantages.nextBlend
            logGroups(step, advantages, discarded: groups.count - learned.count, track: track)
            return updates
        } catch {
            // The settings do not fit the prompts (a list of weights that is too short): every step would meet it again.
            log(.error, scope(track), step: step.step, "advantages-failed", [.init("reason", .text("\(error)"))])
            end(.failed("\(scope(track)) step \(step.step + 1): \(error)"))
            return []
        }
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
                case .done(let path, _):
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

    /// The paths of a question that have a gradient, below the prompts they were sampled from (or the plain one).
    private func policyTree(
        _ step: StepState, question: Int, _ group: GroupAdvantages, _ weights: [Double], _ uses: [PathUse],
        head: AdapterReference?
    ) -> LearningTree {
        let question = (plan: step.questions[question], slots: step.slots[question])
        let isStripped = plan.loss.target == .stripped
        var result = LearningTree(
            tree: PromptTree(prefixIds: question.plan.prefixIds, suffixIds: [], paths: []), targets: [])
        // A prompt without such a path is not computed.
        var suffixes: [Int: Int] = [:]
        let mayReuse = plan.loss.updatesPerStep > 1 && !isStripped
        for (place, sample) in group.samples.enumerated() {
            guard uses[place] == .trained, case .done(let path, _) = question.slots[place].status else { continue }
            let prompt = isStripped ? 0 : sample.sample.guideline
            if suffixes[prompt] == nil {
                suffixes[prompt] = result.tree.suffixIds.count
                result.tree.suffixIds.append(
                    isStripped ? question.plan.plainSuffixIds : question.plan.suffixIds[prompt])
            }
            result.tree.paths.append(
                TreePath(suffix: suffixes[prompt] ?? 0, completionIds: path.trajectory.completionIds))
            // What was sampled by the start's own weights already has the start's log-probs.
            let hasStart = mayReuse && isFresh(path.trajectory, head)
            result.targets.append(
                PathTarget(
                    weight: weights[place], advantage: sample.advantage, rollLogprobs: path.trajectory.logprobs,
                    proxLogprobs: hasStart ? path.trajectory.logprobs : [], counts: true))
        }
        return result
    }

    private mutating func logGroups(_ step: StepState, _ result: StepAdvantages, discarded: Int, track: Int) {
        let counts = result.counts
        var (tokens, correct, paths, failed) = (0, 0, 0, 0)
        for slots in step.slots {
            for slot in slots {
                guard case .done(let path, _) = slot.status else {
                    failed += 1
                    continue
                }
                paths += 1
                tokens += path.trajectory.completionIds.count
                correct += path.parts.isStrictCorrect ? 1 : 0
            }
        }
        var fields: [LogEntry.Field] = [
            .init("of", .int(tracks[track].plan.steps.count)), .init("reward", .double(counts.meanReward)),
            .init("correct", .int(correct)), .init("paths", .int(paths)), .init("failed", .int(failed)),
            .init("tied_questions", .int(counts.tiedQuestions)), .init("tied_guidelines", .int(counts.tiedGuidelines)),
            .init("k_eff", .double(Double(counts.effectiveGuidelines) / Double(max(1, counts.questions)))),
            .init("lambda", .double(result.lambda)), .init("tokens", .int(tokens)),
            .init("sample_s", .double(Double(now.since(step.openedAt)) / 1_000)),
        ]
        fields += stalenessFields(step, track: track)
        if discarded > 0 { fields.append(.init("discarded_questions", .int(discarded))) }
        for (index, name) in (step.questions.first?.promptNames ?? []).enumerated() {
            guard let mean = meanReward(of: index, in: result) else { continue }
            fields.append(.init("reward_\(name)", .double(mean)))
        }
        log(.info, scope(track), step: step.step, "groups-closed", fields)
        metric(scope(track), step: step.step, "groups", fields)
    }

    private func meanReward(of guideline: Int, in result: StepAdvantages) -> Double? {
        var sum = 0.0
        var count = 0
        for group in result.groups {
            for sample in group.samples where sample.sample.guideline == guideline {
                guard let reward = sample.sample.reward else { continue }
                sum += reward
                count += 1
            }
        }
        return count == 0 ? nil : sum / Double(count)
    }
}
