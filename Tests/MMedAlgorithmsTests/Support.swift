import MMedAlgorithms
import MMedCore

/// The seeds of the property tests; each is an argument of its test, so that a failure names it.
let seeds: [UInt64] = Array(1...40)

/// A stream of draws from one seed.
struct Draw {
    private let random: CounterRandom
    private var counter: UInt64 = 0

    init(_ seed: UInt64) { random = CounterRandom(key: seed) }

    mutating func uniform() -> Double {
        counter += 1
        return random.uniform(counter)
    }

    mutating func uniform(_ range: ClosedRange<Double>) -> Double {
        range.lowerBound + uniform() * (range.upperBound - range.lowerBound)
    }

    mutating func int(_ range: ClosedRange<Int>) -> Int {
        range.lowerBound + Int(uniform() * Double(range.count))
    }

    mutating func shuffled<Element>(_ elements: [Element]) -> [Element] {
        var result = elements
        for index in result.indices.reversed() { result.swapAt(index, int(0...index)) }
        return result
    }
}

/// A group whose rewards are given by guideline; nil is failed.
func group(_ rewards: [[Double?]], question: String = "q", tokens: Int = 1) -> QuestionGroup {
    var samples: [RewardedSample] = []
    for (guideline, own) in rewards.enumerated() {
        for (index, reward) in own.enumerated() {
            samples.append(
                RewardedSample(
                    question: question, guideline: guideline, sample: index,
                    outcome: reward.map(RewardOutcome.value) ?? .failed(reason: "lost"), completionTokens: tokens))
        }
    }
    return QuestionGroup(question: question, samples: samples)
}

/// Rewards of 1...4 guidelines with `counts` samples each; half of the seeds draw few values, so that ties occur.
func randomRewards(_ draw: inout Draw, counts: ClosedRange<Int> = 2...5, guidelines: ClosedRange<Int> = 1...4)
    -> [[Double]]
{
    let isCoarse = draw.uniform() < 0.5
    return (0..<draw.int(guidelines)).map { _ in
        (0..<draw.int(counts)).map { _ in
            isCoarse ? Double(draw.int(0...1)) : draw.uniform(-1...2)
        }
    }
}

/// A in the order of (guideline, sample).
func advantages(_ rewards: [[Double?]], _ settings: AdvantageSettings) throws -> [Double] {
    try stepAdvantages([group(rewards)], settings: settings).groups[0].samples.map(\.advantage)
}

func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(values.count) }

func besselDeviation(_ values: [Double]) -> Double {
    let centre = mean(values)
    return (values.map { ($0 - centre) * ($0 - centre) }.reduce(0, +) / Double(values.count - 1)).squareRoot()
}

/// The greatest distance of two lists; infinity when their lengths differ.
func distance(_ left: [Double], _ right: [Double]) -> Double {
    guard left.count == right.count else { return .infinity }
    return zip(left, right).map { ($0 - $1).magnitude }.max() ?? 0
}

/// Every combination of leave-one-out and scale for a baseline.
func variants(_ baseline: Baseline) -> [AdvantageSettings] {
    [true, false].flatMap { leaveOneOut in
        AdvantageScale.allCases.map {
            AdvantageSettings(baseline: baseline, leaveOneOut: leaveOneOut, scale: $0)
        }
    }
}

let baselines: [Baseline] = [.within, .blend(lambda: 0.3), .pooled]
