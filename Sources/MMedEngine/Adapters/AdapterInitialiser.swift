public import MMedCore

/// The first weights of an adapter.
public enum AdapterInitialiser {
    /// Flat weights in the order of the layout: A uniform in ±1/sqrt(input) (Kaiming-uniform with a = sqrt(5), as PEFT draws it),
    /// B zero. Each number is drawn by its place in the flat vector, so the same seed gives the same bytes everywhere.
    public static func weights(layout: AdapterLayout, seed: UInt64) -> [Float] {
        let random = CounterRandom(key: seed)
        var weights = [Float](repeating: 0, count: layout.parameterCount)
        for pair in layout.pairs {
            let bound = 1 / Double(pair.input).squareRoot()
            for index in pair.offsetA..<pair.offsetB {
                weights[index] = Float((2 * random.uniform(UInt64(index)) - 1) * bound)
            }
        }
        return weights
    }
}
