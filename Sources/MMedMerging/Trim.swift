/// What trimming keeps of one vector: the largest magnitudes, `density` of all entries rounded to the nearest count, at
/// least one. Among equal magnitudes at the edge the lower index stays. Entries that are 0 are never kept. Which are kept is
/// all it holds; their numbers are the vector's.
struct TrimmedVector {
    /// One bit an entry: kept and above zero.
    let positive: [UInt64]
    /// One bit an entry: kept and below zero.
    let negative: [UInt64]

    init(_ values: [Float], density: Double) {
        let count = values.count
        let kept = min(count, max(1, Int((density * Double(count)).rounded())))
        let edge = magnitudeEdge(values, keeping: kept)
        var positive = [UInt64](repeating: 0, count: (count + 63) / 64)
        var negative = positive
        var tiesLeft = edge.bits == 0 ? 0 : edge.ties
        values.withUnsafeBufferPointer { values in
            for word in positive.indices {
                let start = word * 64
                let run = min(64, count - start)
                var (up, down): (UInt64, UInt64) = (0, 0)
                for bit in 0..<run {
                    let value = values[start &+ bit]
                    let magnitude = value.bitPattern & 0x7FFF_FFFF
                    var kept: UInt64 = magnitude > edge.bits ? 1 : 0
                    if magnitude == edge.bits && tiesLeft > 0 {
                        tiesLeft -= 1
                        kept = 1
                    }
                    // No branch on the sign or on keeping: both are as good as random.
                    let sign = UInt64(value.bitPattern >> 31)
                    up |= (kept & ~sign) << UInt64(bit)
                    down |= (kept & sign) << UInt64(bit)
                }
                (positive[word], negative[word]) = (up, down)
            }
        }
        self.positive = positive
        self.negative = negative
    }

    /// The entries kept of `values`, the vector that was trimmed, from `start` on, 0 elsewhere. `start` is a multiple of 64.
    func write(_ values: [Float], from start: Int, length: Int, to target: inout [Float]) {
        precondition(start % 64 == 0 && start + length <= values.count && length <= target.count)
        values.withUnsafeBufferPointer { values in
            target.withUnsafeMutableBufferPointer { target in
                for first in stride(from: 0, to: length, by: 64) {
                    let word = (start + first) / 64
                    let kept = positive[word] | negative[word]
                    for bit in 0..<min(64, length - first) {
                        let mask = 0 &- UInt32(truncatingIfNeeded: kept >> UInt64(bit) & 1)
                        target[first &+ bit] = Float(
                            bitPattern: values[start &+ first &+ bit].bitPattern & mask)
                    }
                }
            }
        }
    }
}

/// The bit pattern of the `keeping`-th largest magnitude, and how many entries of just that magnitude are kept. Bit
/// patterns of magnitudes order as the magnitudes do; a radix selection over their upper 16 and lower 15 bits takes two
/// passes.
func magnitudeEdge(_ values: [Float], keeping: Int) -> (bits: UInt32, ties: Int) {
    var upper = [Int](repeating: 0, count: 1 << 16)
    for value in values { upper[Int(value.magnitude.bitPattern >> 15)] += 1 }
    let (bin, above) = binOfRank(upper, rank: keeping, above: 0)
    var lower = [Int](repeating: 0, count: 1 << 15)
    for value in values where Int(value.magnitude.bitPattern >> 15) == bin {
        lower[Int(value.magnitude.bitPattern & 0x7FFF)] += 1
    }
    let (rest, aboveEdge) = binOfRank(lower, rank: keeping, above: above)
    return (UInt32(bin) << 15 | UInt32(rest), keeping - aboveEdge)
}

/// The bin that holds the `rank`-th largest, and how many lie above that bin.
private func binOfRank(_ counts: [Int], rank: Int, above: Int) -> (bin: Int, above: Int) {
    var above = above
    for bin in counts.indices.reversed() {
        if above + counts[bin] >= rank { return (bin, above) }
        above += counts[bin]
    }
    return (0, above)
}
