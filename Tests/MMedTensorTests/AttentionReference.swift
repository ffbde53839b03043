import MMedTensor

/// One sequence with keys and values of its own, in Double: the formula, as plainly as it can be written.
struct AttentionReference {
    let shape: AttentionShape
    /// [positions, kvHeads · headDim]
    var keys: [Double]
    var values: [Double]
    /// [queries, heads · headDim]
    var q: [Double]
    let startPosition: Int

    var queries: Int { q.count / (shape.heads * shape.headDim) }
    private var group: Int { shape.heads / shape.kvHeads }

    private func key(_ position: Int, _ head: Int) -> Int { (position * shape.kvHeads + head / group) * shape.headDim }
    private func query(_ row: Int, _ head: Int) -> Int { (row * shape.heads + head) * shape.headDim }

    private func probabilities(_ row: Int, _ head: Int) -> [Double] {
        let scores = (0...startPosition + row).map { position in
            (0..<shape.headDim).reduce(0) { $0 + q[query(row, head) + $1] * keys[key(position, head) + $1] }
                * Double(shape.scale)
        }
        let largest = scores.max() ?? 0
        let weights = scores.map { exponential($0 - largest) }
        let sum = weights.reduce(0, +)
        return weights.map { $0 / sum }
    }

    func forward() -> [Double] {
        var out = [Double](repeating: 0, count: q.count)
        for row in 0..<queries {
            for head in 0..<shape.heads {
                for (position, p) in probabilities(row, head).enumerated() {
                    for d in 0..<shape.headDim { out[query(row, head) + d] += p * values[key(position, head) + d] }
                }
            }
        }
        return out
    }

    func backward(dOut: [Double]) -> (dQ: [Double], dKeys: [Double], dValues: [Double]) {
        var dQ = [Double](repeating: 0, count: q.count)
        var dKeys = [Double](repeating: 0, count: keys.count)
        var dValues = dKeys
        for row in 0..<queries {
            for head in 0..<shape.heads {
                let p = probabilities(row, head)
                let at = query(row, head)
                let slopes = p.indices.map { position in
                    (0..<shape.headDim).reduce(0) { $0 + dOut[at + $1] * values[key(position, head) + $1] }
                }
                let mean = dot(p, slopes)
                for position in p.indices {
                    let change = p[position] * (slopes[position] - mean) * Double(shape.scale)
                    let line = key(position, head)
                    for d in 0..<shape.headDim {
                        dQ[at + d] += change * keys[line + d]
                        dKeys[line + d] += change * q[at + d]
                        dValues[line + d] += p[position] * dOut[at + d]
                    }
                }
            }
        }
        return (dQ, dKeys, dValues)
    }
}

extension Numbers {
    mutating func segment(_ count: Int, _ shape: AttentionShape) -> KeyValueSegment {
        KeyValueSegment(
            keys: matrix(count, shape.kvHeads * shape.headDim, 2), values: matrix(count, shape.kvHeads * shape.headDim))
    }

    /// The same keys and values, cut at random into pieces with storage of their own.
    mutating func recut(_ chain: KeyChain, _ shape: AttentionShape) -> KeyChain {
        let keys = chain.segments.flatMap { $0.keys.array() }
        let values = chain.segments.flatMap { $0.values.array() }
        let width = shape.kvHeads * shape.headDim
        var segments: [KeyValueSegment] = []
        var first = 0
        while first < chain.count {
            let count = 1 + below(chain.count - first)
            let range = first * width..<(first + count) * width
            segments.append(
                KeyValueSegment(
                    keys: Matrix(Array(keys[range]), rows: count, columns: width),
                    values: Matrix(Array(values[range]), rows: count, columns: width)))
            first += count
        }
        return KeyChain(segments)
    }
}

extension KeyChain {
    /// Zeros of the same shape, one buffer for each segment.
    func zeros() -> KeyChain {
        KeyChain(
            segments.map { segment in
                KeyValueSegment(
                    keys: Matrix(rows: segment.keys.rows, columns: segment.keys.columns),
                    values: Matrix(rows: segment.keys.rows, columns: segment.keys.columns))
            })
    }

    func keyArray() -> [Float] { segments.flatMap { $0.keys.array() } }
    func valueArray() -> [Float] { segments.flatMap { $0.values.array() } }
}
