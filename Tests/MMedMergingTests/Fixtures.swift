import MMedCore
import MMedMerging
import Testing

/// Small and with a different width on every side.
let tinyShape = ModelShape(layerCount: 2, hiddenSize: 20, queryWidth: 24, keyValueWidth: 8, intermediateSize: 28)

func name(_ text: String) throws -> Name { try #require(Name(text)) }

/// Uniform in (-1, 1), a function of the seed alone.
func randomValues(_ count: Int, seed: UInt64) -> [Float] {
    let random = CounterRandom(key: seed)
    return (0..<count).map { Float(random.uniform(UInt64($0)) * 2 - 1) }
}

func randomAdapter(
    seed: UInt64, rank: Int = 3, alpha: Double = 6, rankStabilised: Bool = false,
    targets: [Projection] = Projection.allCases, near: AdapterWeights? = nil
) throws -> AdapterWeights {
    let settings = AdapterSettings(rank: rank, alpha: alpha, rankStabilised: rankStabilised, targets: targets)
    let layout = near?.layout ?? AdapterLayout(settings: settings, shape: tinyShape)
    var values = randomValues(layout.parameterCount, seed: seed)
    if let near { values = zip(near.values, values).map { $0 + 0.03 * $1 } }
    return try AdapterWeights(layout: layout, values: values)
}

/// Both task vectors of each specialty, as a run makes them.
func specialties(_ names: [String], seed: UInt64) throws -> [MergeInput] {
    var inputs: [MergeInput] = []
    for (place, text) in names.enumerated() {
        let supervised = try randomAdapter(seed: seed &* 1000 &+ UInt64(place))
        let reinforced = try randomAdapter(seed: seed &* 1000 &+ 500 &+ UInt64(place), near: supervised)
        inputs += MergeInput.specialty(try name(text), supervised: supervised, reinforced: reinforced)
    }
    return inputs
}

/// An adapter whose only ΔW, that of layer 0's k projection, is the given `[output, input]` matrix to the last bit:
/// A is the identity, B the matrix, the scale 1.
func exactAdapter(_ matrix: [Float], output: Int, input: Int) throws -> AdapterWeights {
    let shape = ModelShape(
        layerCount: 1, hiddenSize: input, queryWidth: input, keyValueWidth: output, intermediateSize: input)
    let settings = AdapterSettings(rank: input, alpha: Double(input), targets: [.k])
    let identity = (0..<input * input).map { Float($0 / input == $0 % input ? 1 : 0) }
    return try AdapterWeights(layout: AdapterLayout(settings: settings, shape: shape), values: identity + matrix)
}

/// scale·B·A of a pair by the schoolbook, in fp64.
func naiveDelta(_ adapter: AdapterWeights, _ pair: AdapterLayout.Pair) -> [Double] {
    let settings = adapter.layout.settings
    guard let own = adapter.layout.pairs.first(where: { $0.layer == pair.layer && $0.projection == pair.projection })
    else { return [Double](repeating: 0, count: pair.output * pair.input) }
    let rank = settings.rank
    let scale = settings.rankStabilised ? settings.alpha / Double(rank).squareRoot() : settings.alpha / Double(rank)
    var result = [Double](repeating: 0, count: own.output * own.input)
    for row in 0..<own.output {
        for inner in 0..<rank {
            let left = scale * Double(adapter.values[own.offsetB + row * rank + inner])
            for column in 0..<own.input {
                result[row * own.input + column] +=
                    left * Double(adapter.values[own.offsetA + inner * own.input + column])
            }
        }
    }
    return result
}

func norm(_ values: [Double]) -> Double { values.reduce(0) { $0 + $1 * $1 }.squareRoot() }

func norm(_ values: [Float]) -> Double { norm(values.map(Double.init)) }

func distance(_ left: [Float], _ right: [Double]) -> Double {
    #expect(left.count == right.count)
    return norm(zip(left, right).map { Double($0) - $1 })
}

func distance(_ left: [Float], _ right: [Float]) -> Double { distance(left, right.map(Double.init)) }
