internal import MMedCore

/// The first and second moments of a list of rewards.
struct Moments {
    let count: Int
    let mean: Double
    let squaredDeviations: Double
    let isTied: Bool
    /// The square root of the sum over n - 1; 0 when tied or below two values.
    let besselDeviation: Double

    /// Sums run in the order given. A tie is decided by max == min, never by a rounded variance, and its mean is the
    /// value itself: a rounded sum would leave the members a distance from their own mean.
    init(_ values: [Double]) {
        count = values.count
        guard let first = values.first else {
            (mean, squaredDeviations, isTied, besselDeviation) = (0, 0, true, 0)
            return
        }
        let least = values.min() ?? first
        let greatest = values.max() ?? first
        isTied = least == greatest
        if isTied {
            (mean, squaredDeviations, besselDeviation) = (first, 0, 0)
            return
        }
        let mean = values.reduce(0, +) / Double(values.count)
        self.mean = mean
        // Scaled by the greatest distance, so that squares of tiny rewards do not vanish and S is never 0 here.
        let reach = max(greatest - mean, mean - least)
        var scaledSquares = 0.0
        for value in values {
            let distance = (value - mean) / reach
            scaledSquares += distance * distance
        }
        squaredDeviations = scaledSquares * reach * reach
        besselDeviation = reach * (scaledSquares / Double(values.count - 1)).squareRoot()
    }
}

/// A group whose samples were checked, in id order.
struct CheckedGroup {
    let question: String
    let samples: [RewardedSample]
    let statistics: GroupStatistics

    /// Rewards beyond this are refused: their squares could no longer be summed.
    static let rewardMagnitudeMax = 1e100

    init(_ group: QuestionGroup, weights: GuidelineWeights) throws(MMedError) {
        question = group.question
        samples = try CheckedGroup.ordered(group)
        var (entries, index): ([(guideline: Int, moments: Moments, failed: Int, abstained: Int)], Int) = ([], 0)
        while index < samples.count {
            let guideline = samples[index].guideline
            var (rewards, failed, abstained): ([Double], Int, Int) = ([], 0, 0)
            while index < samples.count, samples[index].guideline == guideline {
                switch samples[index].outcome {
                case .value(let reward): rewards.append(reward)
                case .abstain: abstained += 1
                case .failed: failed += 1
                }
                index += 1
            }
            entries.append((guideline, Moments(rewards), failed, abstained))
        }
        var raw: [Double] = []
        for entry in entries {
            let weight = try CheckedGroup.rawWeight(
                entry.guideline, count: entry.moments.count, weights, question: question)
            raw.append(weight)
        }
        let rawSum = raw.reduce(0, +)
        let pooled = Moments(samples.compactMap(\.reward))
        statistics = GroupStatistics(
            guidelines: zip(entries, raw).map { entry, weight in
                GuidelineStatistics(
                    guideline: entry.guideline, validCount: entry.moments.count, failedCount: entry.failed,
                    abstainedCount: entry.abstained, mean: entry.moments.mean,
                    squaredDeviations: entry.moments.squaredDeviations, isTied: entry.moments.isTied,
                    weight: rawSum > 0 ? weight / rawSum : 0)
            },
            validCount: pooled.count, failedCount: entries.reduce(0) { $0 + $1.failed },
            abstainedCount: entries.reduce(0) { $0 + $1.abstained }, mean: pooled.mean,
            squaredDeviations: pooled.squaredDeviations, isTied: pooled.isTied,
            isTiedByCorrectness: CheckedGroup.isTiedByCorrectness(samples, rewardsTied: pooled.isTied))
    }

    /// The samples in id order.
    private static func ordered(_ group: QuestionGroup) throws(MMedError) -> [RewardedSample] {
        let ordered = group.samples.sorted { ($0.guideline, $0.sample) < ($1.guideline, $1.sample) }
        for (index, sample) in ordered.enumerated() {
            let place = "question \(group.question), guideline \(sample.guideline), sample \(sample.sample)"
            guard sample.question == group.question else {
                throw MMedError(
                    .badData, at: place, "the sample belongs to question \(sample.question)",
                    mend: "group samples by their own question")
            }
            guard sample.guideline >= 0, sample.sample >= 0, sample.completionTokens >= 0 else {
                throw MMedError(
                    .badData, at: place, "guideline, sample and token count must not be negative",
                    mend: "number guidelines and samples from 0")
            }
            if index > 0, ordered[index - 1].guideline == sample.guideline,
                ordered[index - 1].sample == sample.sample
            {
                throw MMedError(
                    .badData, at: place, "the sample is given twice", mend: "count every sample once, by its id")
            }
            if let reward = sample.reward, !(reward.magnitude <= rewardMagnitudeMax) {
                throw MMedError(
                    .badData, at: place, "the reward \(reward) is not finite or beyond \(rewardMagnitudeMax)",
                    mend: "report a reward that cannot be computed as failed")
            }
        }
        return ordered
    }

    private static func rawWeight(
        _ guideline: Int, count: Int, _ weights: GuidelineWeights, question: String
    ) throws(MMedError) -> Double {
        switch weights {
        case .uniform: return count > 0 ? 1 : 0
        case .count: return Double(count)
        case .list(let list):
            guard guideline < list.count else {
                throw MMedError(
                    .badData, at: "question \(question)",
                    "guideline \(guideline) has no weight, there are \(list.count)",
                    mend: "list a weight for each guideline")
            }
            return count > 0 ? list[guideline] : 0
        }
    }

    /// Where correctness is unknown for any valid sample the rewards decide.
    private static func isTiedByCorrectness(_ samples: [RewardedSample], rewardsTied: Bool) -> Bool {
        var (right, wrong) = (0, 0)
        for sample in samples where sample.reward != nil {
            guard let isCorrect = sample.isCorrect else { return rewardsTied }
            if isCorrect { right += 1 } else { wrong += 1 }
        }
        return right == 0 || wrong == 0
    }
}
