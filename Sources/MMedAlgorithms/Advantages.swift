public import MMedCore

/// The advantages of one step: every question's samples compared with their guideline and with each other.
///
///     A = [ (1-lambda) n_g/(n_g-1) (r - m_g) + lambda N/(N-1) (r - M) ] / S       leave-one-out
///     A = [ (1-lambda) (r - m_g)             + lambda (r - M)         ] / S       else
///
/// Ties are decided by max == min: the within term of a tied guideline, the pooled term of a tied question and every
/// advantage over a tied set of S are exactly 0. With leave-one-out a guideline of one sample is compared with all
/// samples of the others. A question with fewer than two valid samples is masked and takes no part in S or `auto`.
///
/// - Parameters:
///   - groups: the questions of the step, each once; the result keeps their order and does not depend on it.
///   - settings: baseline, leave-one-out, scale and guideline weights.
///   - blend: the state of baseline `auto` before this step; it is updated whatever the baseline.
/// - Throws: `badData` naming the question for a duplicate or foreign sample, a question given twice, or a reward
///   that is not finite.
public func stepAdvantages(
    _ groups: [QuestionGroup], settings: AdvantageSettings = AdvantageSettings(), blend: BlendState = BlendState()
) throws(MMedError) -> StepAdvantages {
    try settings.validate()
    var checked: [CheckedGroup] = []
    for group in groups { checked.append(try CheckedGroup(group, weights: settings.weights)) }
    let idOrder = checked.indices.sorted {
        checked[$0].question.utf8.lexicographicallyPrecedes(checked[$1].question.utf8)
    }
    for (earlier, later) in zip(idOrder, idOrder.dropFirst()) where checked[earlier].question == checked[later].question
    {
        throw MMedError(
            .badData, at: "question \(checked[later].question)", "the question is given twice in one step",
            mend: "put all its samples into one group")
    }
    let usable = idOrder.map { checked[$0] }.filter(\.statistics.isUsable)
    let step = StepContext(
        settings: settings, lambda: blendLambda(of: settings.baseline, blend: blend),
        batch: settings.scale == .batch ? Moments(usable.flatMap { $0.samples.compactMap(\.reward) }) : Moments([]))
    var counts = StepCounts()
    for index in idOrder { counts.add(checked[index].statistics) }
    return StepAdvantages(
        groups: checked.map { group in
            GroupAdvantages(question: group.question, samples: step.advantages(of: group), statistics: group.statistics)
        },
        lambda: step.lambda, nextBlend: blend.updated(with: usable.map(\.statistics)), counts: counts)
}

/// lambda of this step.
func blendLambda(of baseline: Baseline, blend: BlendState) -> Double {
    switch baseline {
    case .within: 0
    case .pooled: 1
    case .blend(let lambda): lambda
    case .auto: blend.lambda
    }
}

/// What all questions of a step share.
struct StepContext {
    let settings: AdvantageSettings
    let lambda: Double
    let batch: Moments

    func advantages(of group: CheckedGroup) -> [SampleAdvantage] {
        let statistics = group.statistics
        guard statistics.isUsable else {
            return group.samples.map { SampleAdvantage(sample: $0, advantage: 0, isMasked: true) }
        }
        let isSingle = statistics.effectiveGuidelines == 1
        let questionScale =
            settings.scale == .question ? Moments(group.samples.compactMap(\.reward)).besselDeviation : 0
        var advantages: [SampleAdvantage] = []
        var start = 0
        for guideline in statistics.guidelines {
            let end = start + guideline.validCount + guideline.failedCount + guideline.abstainedCount
            let own = group.samples[start..<end]
            let divisor = scale(of: own, question: questionScale)
            for sample in own {
                guard let reward = sample.reward else {
                    advantages.append(SampleAdvantage(sample: sample, advantage: 0, isMasked: true))
                    continue
                }
                let pooled = term(
                    reward, mean: statistics.mean, count: statistics.validCount)
                // One guideline is the pool itself: the same bits for every lambda.
                var centred = pooled
                if !isSingle {
                    // Nobody else under its guideline: leave-one-out has only the other guidelines to compare with.
                    let within =
                        settings.leaveOneOut && guideline.validCount == 1
                        ? pooled
                        : term(reward, mean: guideline.mean, count: guideline.validCount)
                    centred = (1 - lambda) * within + lambda * pooled
                }
                let advantage = divisor.map { $0 > 0 ? centred / $0 : 0 } ?? centred
                advantages.append(SampleAdvantage(sample: sample, advantage: advantage, isMasked: false))
            }
            start = end
        }
        return advantages
    }

    /// The distance from a mean, with the sample itself left out of it where asked. The mean of a tied set is its value
    /// to the bit (`Moments`), so that the distance is exactly 0 there.
    private func term(_ reward: Double, mean: Double, count: Int) -> Double {
        let distance = reward - mean
        return settings.leaveOneOut ? Double(count) / Double(count - 1) * distance : distance
    }

    /// S; nil is 1, and 0 marks a tied set.
    private func scale(of guideline: ArraySlice<RewardedSample>, question: Double) -> Double? {
        switch settings.scale {
        case .none: nil
        case .question: question
        case .batch: batch.besselDeviation
        case .guideline: Moments(guideline.compactMap(\.reward)).besselDeviation
        }
    }
}

extension StepCounts {
    fileprivate mutating func add(_ group: GroupStatistics) {
        questions += 1
        valid += group.validCount
        failed += group.failedCount
        abstained += group.abstainedCount
        tiedGuidelines += group.tiedGuidelines
        effectiveGuidelines += group.effectiveGuidelines
        rewardSum += group.mean * Double(group.validCount)
        if !group.isUsable {
            maskedQuestions += 1
        } else {
            if group.isTied { tiedQuestions += 1 }
            if group.isTiedByCorrectness { tiedByCorrectness += 1 }
        }
    }
}
