internal import MMedCore
internal import MMedTensor

/// ΔW of one matrix as factors, the scale α/r folded into B, once: B `[output, rank]`, A `[rank, input]`, row-major.
struct FactoredMatrix {
    let output: Int
    let input: Int
    let rank: Int
    var b: [Float]
    let a: [Float]

    /// The pair's ΔW in an adapter.
    init(_ adapter: AdapterWeights, _ pair: AdapterLayout.Pair) {
        let rank = adapter.layout.settings.rank
        let scale = Float(adapter.layout.settings.scale)
        self.init(
            output: pair.output, input: pair.input, rank: rank,
            b: adapter.values[pair.offsetB..<pair.offsetB + pair.output * rank].map { scale * $0 },
            a: Array(adapter.values[pair.offsetA..<pair.offsetA + rank * pair.input]))
    }

    init(output: Int, input: Int, rank: Int, b: [Float], a: [Float]) {
        self.output = output
        self.input = input
        self.rank = rank
        self.b = b
        self.a = a
    }

    /// ΔW `[output, input]`.
    func dense() -> [Float] { matrixProduct(m: output, n: input, k: rank, b, a) }

    /// ‖ΔW‖_F.
    var norm: Double { max(0, innerProduct(self)).squareRoot() }

    /// The sum of two, ranks added: [B₁ B₂]·[A₁; A₂].
    func stacked(with other: FactoredMatrix) -> FactoredMatrix {
        let wide = rank + other.rank
        var joined = [Float](repeating: 0, count: output * wide)
        for row in 0..<output {
            for column in 0..<rank { joined[row * wide + column] = b[row * rank + column] }
            for column in 0..<other.rank { joined[row * wide + rank + column] = other.b[row * other.rank + column] }
        }
        return FactoredMatrix(output: output, input: input, rank: wide, b: joined, a: a + other.a)
    }

    /// ⟨ΔW₁, ΔW₂⟩ = Σ (B₁ᵀB₂)∘(A₁A₂ᵀ), in fp64 from the factors alone.
    func innerProduct(_ other: FactoredMatrix) -> Double {
        let gramB = matrixProduct(
            m: rank, n: other.rank, k: output, b.map(Double.init), transposeA: true, other.b.map(Double.init))
        let gramA = matrixProduct(
            m: rank, n: other.rank, k: input, a.map(Double.init), other.a.map(Double.init), transposeB: true)
        var sum = 0.0
        for index in gramB.indices { sum += gramB[index] * gramA[index] }
        return sum
    }

    /// B times a factor.
    func scaled(by factor: Double) -> FactoredMatrix {
        var result = self
        for index in result.b.indices { result.b[index] = Float(Double(result.b[index]) * factor) }
        return result
    }

    /// This minus another. With equal ranks it is (B₁-B₂)·A₁ + B₂·(A₁-A₂): no cancellation of large products, and an
    /// exact zero for equal adapters.
    func minus(_ other: FactoredMatrix) -> FactoredMatrix {
        guard rank == other.rank else { return stacked(with: other.scaled(by: -1)) }
        let stepB = zip(b, other.b).map { $0 - $1 }
        let stepA = zip(a, other.a).map { $0 - $1 }
        return FactoredMatrix(output: output, input: input, rank: rank, b: stepB, a: a)
            .stacked(with: FactoredMatrix(output: output, input: input, rank: rank, b: other.b, a: stepA))
    }
}

/// One task vector at one matrix.
struct TaskMatrix {
    /// ΔW as factors.
    let factors: FactoredMatrix?
    /// ΔW, dense.
    let values: [Float]
    /// ‖τ‖_F, 0 exactly when the vector is left out.
    let norm: Double

    /// Nil stands for a projection that the adapter does not adapt. A difference below 1e-6 of what it was taken from
    /// is what rounding leaves of equal adapters: it counts as zero, so that noise has no say in the election of signs.
    init(adapter: FactoredMatrix?, minus: FactoredMatrix?) {
        let factors: FactoredMatrix
        var floor = 0.0
        switch (adapter, minus) {
        case (nil, nil):
            self = .zero
            return
        case (let whole?, nil): factors = whole
        case (nil, let taken?): factors = taken.scaled(by: -1)
        case (let whole?, let taken?):
            factors = whole.minus(taken)
            floor = 1e-6 * (whole.norm + taken.norm)
        }
        let values = factors.dense()
        let norm = frobeniusNorm(values)
        self = norm > floor ? TaskMatrix(factors: factors, values: values, norm: norm) : .zero
    }

    private init(factors: FactoredMatrix?, values: [Float], norm: Double) {
        self.factors = factors
        self.values = values
        self.norm = norm
    }

    /// The same without its dense form.
    var sparse: TaskMatrix { TaskMatrix(factors: factors, values: [], norm: norm) }

    static let zero = TaskMatrix(factors: nil, values: [], norm: 0)

    var isZero: Bool { norm == 0 }
}

/// In fp64, in index order over eight interleaved sums.
func frobeniusNorm(_ values: [Float]) -> Double {
    var norm = RunningNorm()
    norm.add(values, length: values.count)
    return norm.squares.squareRoot()
}

/// The squares of a matrix's entries, which are given in runs, each but the last a multiple of 8 long.
struct RunningNorm {
    private var sums = SIMD8<Double>.zero
    private var rest: [Double] = []

    /// ‖X‖² so far.
    var squares: Double { rest.reduce(sums.sum()) { $0 + $1 * $1 } }

    mutating func add(_ values: [Float], length: Int) {
        precondition(rest.isEmpty && length <= values.count, "a run behind one that was the last")
        let whole = length / 8 * 8
        values.withUnsafeBufferPointer { values in
            var index = 0
            while index < whole {
                var block = SIMD8<Double>()
                for lane in 0..<8 { block[lane] = Double(values[index + lane]) }
                sums += block * block
                index += 8
            }
        }
        rest = values[whole..<length].map(Double.init)
    }
}

/// `sum` with ‖X - Y‖² of the first entries, in index order.
func addSquaredDistance(_ left: [Float], _ right: [Float], length: Int, to sum: Double) -> Double {
    precondition(length <= min(left.count, right.count))
    var sum = sum
    for index in 0..<length {
        let step = Double(left[index]) - Double(right[index])
        sum += step * step
    }
    return sum
}
