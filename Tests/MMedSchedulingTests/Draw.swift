import MMedCore

/// A seeded source of draws for tests: the same seed gives the same run.
struct Draw {
    private let random: CounterRandom
    private var counter: UInt64 = 0

    init(seed: UInt64) { random = CounterRandom(key: seed) }

    mutating func word() -> UInt64 {
        counter += 1
        let words = random.block(counter)
        return UInt64(words.0) << 32 | UInt64(words.1)
    }

    mutating func int(_ range: ClosedRange<Int>) -> Int {
        range.lowerBound + Int(word() % UInt64(range.upperBound - range.lowerBound + 1))
    }

    mutating func chance(_ perMille: Int) -> Bool { int(0...999) < perMille }
}
