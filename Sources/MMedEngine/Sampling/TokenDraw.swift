import Foundation

/// Draws a token under top-k and top-p by inverse distribution, with one uniform number.
enum TokenDraw {
    /// The kept tokens run from the most probable down, the lower id first among equals: at most `topK` of them (0 is all), then
    /// the fewest whose share of those reaches `topP`.
    static func draw(logits: [Float], inverseTemperature: Float, topK: Int, topP: Float, uniform: Double) -> Int32 {
        let peak = logits.max() ?? 0
        let scale = Double(inverseTemperature)
        let limit = topK > 0 ? min(topK, logits.count) : logits.count
        // Sorting a whole vocabulary is slow, so tokens far below the peak are looked at only when the nearer ones do not suffice.
        for depth in [5.0, 10, 20, .infinity] {
            var ids: [Int32] = []
            for index in logits.indices where Double(peak - logits[index]) * scale <= depth { ids.append(Int32(index)) }
            if ids.count < limit, depth < .infinity, limit < logits.count { continue }
            ids.sort {
                let (left, right) = (logits[Int($0)], logits[Int($1)])
                return left == right ? $0 < $1 : left > right
            }
            let kept = ids.prefix(limit)
            let weights = kept.map { exp(Double(logits[Int($0)] - peak) * scale) }
            let reachable = weights.reduce(0, +)
            var total = reachable
            if kept.count < limit {
                total = logits.reduce(0) { $0 + exp(Double($1 - peak) * scale) }
                if depth < .infinity, reachable < Double(topP) * total { continue }
            }
            return pick(Array(kept), weights: weights, mass: Double(topP) * total, uniform: uniform)
        }
        return 0
    }

    /// Cuts the tokens where their summed weight reaches `mass`, and inverts the distribution of those left.
    private static func pick(_ ids: [Int32], weights: [Double], mass: Double, uniform: Double) -> Int32 {
        var total = 0.0
        var used = 0
        while used < ids.count {
            total += weights[used]
            used += 1
            if total >= mass { break }
        }
        let target = uniform * total
        var reached = 0.0
        for place in 0..<used {
            reached += weights[place]
            if reached > target { return ids[place] }
        }
        return ids[max(used - 1, 0)]
    }
}
