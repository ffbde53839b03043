import MMedAlgorithms
import MMedCore
import MMedProtocol

/// Values drawn from a seed; the same seed draws the same values.
struct Draw {
    private let random: CounterRandom
    private var counter: UInt64 = 0

    init(seed: UInt64) { random = CounterRandom(key: seed) }

    mutating func word() -> UInt64 {
        counter += 1
        let block = random.block(counter)
        return UInt64(block.0) << 32 | UInt64(block.1)
    }

    mutating func int(_ range: ClosedRange<Int>) -> Int {
        let span = UInt64(range.upperBound - range.lowerBound) + 1
        return range.lowerBound + Int(word() % span)
    }

    mutating func bool() -> Bool { word() & 1 == 1 }

    mutating func number(_ range: ClosedRange<Double>) -> Double {
        counter += 1
        return range.lowerBound + random.uniform(counter) * (range.upperBound - range.lowerBound)
    }

    mutating func list<T>(_ count: ClosedRange<Int>, _ make: (inout Draw) -> T) -> [T] {
        let length = int(count)
        return (0..<length).map { _ in make(&self) }
    }

    mutating func choice<T>(_ values: [T]) -> T { values[int(0...(values.count - 1))] }

    mutating func byte() -> UInt8 { UInt8(truncatingIfNeeded: word()) }

    mutating func name() -> Name {
        let head = Array("abcdefghijklmnopqrstuvwxyz0123456789".utf8)
        let tail = head + Array("_-".utf8)
        let bytes = [choice(head)] + list(0...63) { $0.choice(tail) }
        return Name(String(decoding: bytes, as: UTF8.self)) ?? Draw.plainName
    }

    static let plainName = Name("a").unsafelyUnwrapped

    mutating func digest() -> Digest {
        Digest(bytes: (0..<32).map { _ in byte() }).unsafelyUnwrapped
    }

    mutating func text(_ limit: Int = 40) -> String {
        String(list(0...limit) { $0.choice(Array("abc é漢🙂\n\u{0}\"\\")) })
    }

    mutating func tokens(_ count: ClosedRange<Int>) -> [Int32] { list(count) { Int32($0.int(0...49_151)) } }

    mutating func logprobs(_ count: Int) -> [Float] { list(count...count) { -Float($0.number(0...20)) } }

    mutating func index() -> Int32 { Int32(int(0...200)) }

    mutating func slot(guidelines: Int = 4) -> SlotID {
        SlotID(
            stage: index(), track: index(), step: index(), question: index(),
            guideline: Int32(int(0...(guidelines - 1))), sample: index())
    }

    mutating func shard() -> ShardID {
        ShardID(stage: index(), track: index(), step: index(), update: index(), shard: index())
    }

    mutating func lease() -> LeaseID { LeaseID(fence: word()) }

    mutating func reference(_ name: Name? = nil, version: Int? = nil) -> AdapterReference {
        AdapterReference(name: name ?? self.name(), version: version ?? int(0...1000), digest: digest())
    }

    mutating func maybe<T>(_ make: (inout Draw) -> T) -> T? { bool() ? make(&self) : nil }

    mutating func question() -> QuestionWork {
        let guidelines = int(1...4)
        let options = list(1...5) { String($0.text().prefix(60)) }
        return QuestionWork(
            adapter: maybe { $0.reference() }, prefixIds: tokens(1...130),
            suffixIds: (0..<guidelines).map { _ in tokens(0...20) },
            sampling: SamplingSettings(
                temperature: number(0...2), topK: int(0...100), topP: number(0.01...1), maxTokens: int(1...200)),
            reward: RewardTask(
                answerIndex: int(0...(options.count - 1)), options: options, formatBonus: number(0...0.2),
                probeChoices: bool()),
            slots: list(1...16) { $0.slot(guidelines: guidelines) })
    }

    mutating func trajectory() -> Trajectory {
        let ids = tokens(1...80)
        let base = bool()
        return Trajectory(
            slot: slot(), version: base ? -1 : int(0...1000), adapterDigest: base ? nil : digest(),
            completionIds: ids, logprobs: logprobs(ids.count), stop: choice([.endToken, .budget]),
            choiceLogprobs: logprobs(int(0...5)), reward: number(-1...2))
    }

    mutating func loss() -> LossSettings {
        LossSettings(
            target: choice(LossTarget.allCases), strippedWeights: choice(StrippedWeights.allCases),
            importance: choice(Importance.allCases), aggregation: choice(Aggregation.allCases), prox: .step,
            updatesPerStep: int(1...8), clip: maybe { ClipRange(low: $0.number(0...1), high: $0.number(0...2)) },
            klCoefficient: number(0...1), klEstimator: choice([.k2, .k3]),
            truncation: bool() ? .infinity : number(1...10), maskTruncated: bool())
    }

    mutating func tree() -> LearningTree {
        let suffixes = int(1...4)
        var paths: [TreePath] = []
        var targets: [PathTarget] = []
        for _ in 0..<int(1...8) {
            let ids = tokens(1...50)
            paths.append(TreePath(suffix: int(0...(suffixes - 1)), completionIds: ids))
            targets.append(
                PathTarget(
                    weight: number(0...1), advantage: number(-3...3), rollLogprobs: bool() ? logprobs(ids.count) : [],
                    proxLogprobs: bool() ? logprobs(ids.count) : [], counts: bool()))
        }
        let suffixIds = (0..<suffixes).map { _ in tokens(1...20) }
        return LearningTree(
            tree: PromptTree(prefixIds: tokens(0...130), suffixIds: suffixIds, paths: paths), targets: targets)
    }

    mutating func statistics() -> ShardStatistics {
        var statistics = ShardStatistics()
        statistics.loss = number(-5...5)
        statistics.computedTokens = int(0...100_000)
        statistics.lossTokens = int(0...100_000)
        statistics.clippedTokens = int(0...100_000)
        statistics.klSum = number(-1...1)
        statistics.logprobGapMax = number(0...1)
        statistics.computeMilliseconds = int(0...100_000)
        return statistics
    }
}
