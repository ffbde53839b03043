public import MMedCore

/// One line of the `advantages` command: the rewards of one question.
public struct RewardLine: Hashable, Sendable {
    /// One sample: the name of its guideline, and its reward; nil is failed.
    public struct Sample: Hashable, Sendable {
        /// The name of the guideline.
        public var guideline: String
        /// The reward; nil is failed.
        public var reward: Double?

        /// A sample.
        public init(guideline: String, reward: Double?) {
            self.guideline = guideline
            self.reward = reward
        }
    }

    /// The id of the question; it may come back on a later line, which is another step.
    public var question: String
    /// Its samples; the order within a guideline numbers them.
    public var samples: [Sample]

    /// A line.
    public init(question: String, samples: [Sample]) {
        self.question = question
        self.samples = samples
    }
}

/// One line of the answer: the samples in the order of the input.
public struct AdvantageLine: Hashable, Sendable {
    /// A sample with what it receives.
    public struct Sample: Hashable, Sendable {
        /// The name of the guideline.
        public let guideline: String
        /// The reward as given.
        public let reward: Double?
        /// A; 0 when masked.
        public let advantage: Double
        /// Out of the loss.
        public let isMasked: Bool
    }

    /// The id of the question.
    public let question: String
    /// As many samples as were given, in their order.
    public let samples: [Sample]
}

/// The `advantages` command on values: each line is one step in order for baseline `auto`, the whole file is the `batch`.
///
/// - Parameters:
///   - lines: the rewards.
///   - settings: as in a run.
///   - guidelines: the configured names in order, which a list of weights follows. Other names are numbered after them
///     as they appear.
/// - Throws: `badData` naming the line (from 1) for a reward that is not finite or a guideline without a weight.
public func advantages(
    of lines: [RewardLine], settings: AdvantageSettings, guidelines: [String] = []
) throws(MMedError) -> [AdvantageLine] {
    try settings.validate(guidelineCount: guidelines.isEmpty ? nil : guidelines.count)
    var names = GuidelineNumbers(guidelines)
    var checked: [CheckedGroup] = []
    var places: [[Int]] = []
    for (index, line) in lines.enumerated() {
        let (group, placesInIdOrder) = names.group(line)
        do {
            checked.append(try CheckedGroup(group, weights: settings.weights))
        } catch {
            throw MMedError(error.kind, at: "line \(index + 1), \(error.place)", error.problem, mend: error.mend)
        }
        places.append(placesInIdOrder)
    }
    let usable = checked.filter(\.statistics.isUsable)
    let batch = settings.scale == .batch ? Moments(usable.flatMap { $0.samples.compactMap(\.reward) }) : Moments([])
    var blend = BlendState()
    var result: [AdvantageLine] = []
    for (index, group) in checked.enumerated() {
        let step = StepContext(
            settings: settings, lambda: blendLambda(of: settings.baseline, blend: blend), batch: batch)
        let ordered = step.advantages(of: group)
        let samples = zip(lines[index].samples, places[index]).map { given, place in
            AdvantageLine.Sample(
                guideline: given.guideline, reward: given.reward, advantage: ordered[place].advantage,
                isMasked: ordered[place].isMasked)
        }
        result.append(AdvantageLine(question: group.question, samples: samples))
        blend = blend.updated(with: group.statistics.isUsable ? [group.statistics] : [])
    }
    return result
}

/// Names numbered in order of appearance after the configured ones.
private struct GuidelineNumbers {
    private var numbers: [String: Int] = [:]

    init(_ names: [String]) {
        for name in names { _ = number(of: name) }
    }

    /// The line as a group, and for each of its samples the place in id order.
    mutating func group(_ line: RewardLine) -> (group: QuestionGroup, places: [Int]) {
        var group = QuestionGroup(question: line.question, samples: [])
        var used: [Int] = []
        for sample in line.samples {
            let guideline = number(of: sample.guideline)
            while used.count <= guideline { used.append(0) }
            group.samples.append(
                RewardedSample(
                    question: line.question, guideline: guideline, sample: used[guideline],
                    outcome: sample.reward.map(RewardOutcome.value) ?? .failed(reason: "given as null")))
            used[guideline] += 1
        }
        // Samples are numbered densely under each guideline, so that those before a guideline can be counted.
        var before = 0
        let starts = used.map { count in
            before += count
            return before - count
        }
        return (group, group.samples.map { starts[$0.guideline] + $0.sample })
    }

    mutating func number(of name: String) -> Int {
        if let number = numbers[name] { return number }
        let number = numbers.count
        numbers[name] = number
        return number
    }
}
