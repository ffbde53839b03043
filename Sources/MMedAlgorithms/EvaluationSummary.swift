/// One evaluated question; give each once, for the intervals count independent trials. Classes are what is asked about (sick, healthy), not letters, whose order differs by question.
public struct EvaluationItem: Hashable, Sendable {
    /// The right class.
    public var truth: Int
    /// The class read strictly from the sampled text; nil is unparsed.
    public var strict: Int?
    /// The class read leniently; nil when nothing resembles an option.
    public var lenient: Int?
    /// The class whose letter is the likeliest after the answer tag; nil when that was not measured.
    public var choice: Int?

    /// An item.
    public init(truth: Int, strict: Int?, lenient: Int?, choice: Int? = nil) {
        self.truth = truth
        self.strict = strict
        self.lenient = lenient
        self.choice = choice
    }
}

/// A count of right answers with its interval.
public struct Accuracy: Hashable, Sendable {
    /// Right answers.
    public let correct: Int
    /// Questions asked.
    public let count: Int

    /// Right answers out of questions.
    public init(correct: Int, count: Int) {
        self.correct = correct
        self.count = count
    }

    /// The share of right answers; 0 without questions.
    public var value: Double { count == 0 ? 0 : Double(correct) / Double(count) }
    /// Its 95 % Wilson interval.
    public var interval: Interval { wilsonInterval(successes: correct, trials: count) }
}

/// What a stage's evaluation reports for one specialty and prompt.
public struct EvaluationSummary: Hashable, Sendable {
    /// An unparsed answer is wrong.
    public let strict: Accuracy
    /// By the lenient reading.
    public let lenient: Accuracy
    /// Over the items where it was measured; nil when it was on none.
    public let choice: Accuracy?
    /// The mean over the classes of the strict share of right answers.
    public let balancedAccuracy: Double
    /// The same of the choice; nil when it was measured on none.
    public let choiceBalancedAccuracy: Double?
    /// The share of the most frequent class: what always naming it would score.
    public let majorityBaseline: Double
    /// The share of items without a strict answer.
    public let unparsedRate: Double

    /// Aggregates the items; all figures are 0 without any.
    public init(_ items: [EvaluationItem]) {
        func correct(_ reading: (EvaluationItem) -> Int?) -> Int {
            items.reduce(0) { $0 + (reading($1) == $1.truth ? 1 : 0) }
        }
        strict = Accuracy(correct: correct(\.strict), count: items.count)
        lenient = Accuracy(correct: correct(\.lenient), count: items.count)
        let chosen = items.filter { $0.choice != nil }
        choice = chosen.isEmpty ? nil : Accuracy(correct: correct(\.choice), count: chosen.count)
        balancedAccuracy = MMedAlgorithms.balancedAccuracy(truths: items.map(\.truth), predictions: items.map(\.strict))
        choiceBalancedAccuracy =
            chosen.isEmpty
            ? nil
            : MMedAlgorithms.balancedAccuracy(truths: chosen.map(\.truth), predictions: chosen.map(\.choice))
        majorityBaseline = MMedAlgorithms.majorityBaseline(truths: items.map(\.truth))
        let unparsed = items.reduce(0) { $0 + ($1.strict == nil ? 1 : 0) }
        unparsedRate = items.isEmpty ? 0 : Double(unparsed) / Double(items.count)
    }
}

/// The mean over the classes present in `truths` of the share predicted right; 0 without items. A nil prediction is wrong,
/// and items beyond the shorter list are not read.
public func balancedAccuracy(truths: [Int], predictions: [Int?]) -> Double {
    var (recallSum, classCount) = (0.0, 0)
    let pairs = zip(truths, predictions).sorted { $0.0 < $1.0 }
    var index = 0
    while index < pairs.count {
        let label = pairs[index].0
        var (right, count) = (0, 0)
        while index < pairs.count, pairs[index].0 == label {
            count += 1
            if pairs[index].1 == label { right += 1 }
            index += 1
        }
        recallSum += Double(right) / Double(count)
        classCount += 1
    }
    return classCount == 0 ? 0 : recallSum / Double(classCount)
}

/// The share of the most frequent class; 0 without items.
public func majorityBaseline(truths: [Int]) -> Double {
    let sorted = truths.sorted()
    var (longest, run) = (0, 0)
    for index in sorted.indices {
        run = index > 0 && sorted[index] == sorted[index - 1] ? run + 1 : 1
        longest = max(longest, run)
    }
    return sorted.isEmpty ? 0 : Double(longest) / Double(sorted.count)
}
