import Foundation
import MMedCore
@testable import MMedEngine
import MMedTensor
import Testing

@Suite struct OptimiserTests {
    @Test func ratesWarmUpAndFall() {
        func rates(_ decay: LearningRateSchedule.Decay) -> [Double] {
            let schedule = LearningRateSchedule(
                peak: 2, warmUpUpdates: 4, totalUpdates: 8, decay: decay, floorFraction: 0.1)
            return (0..<10).map(schedule.rate)
        }
        #expect(rates(.constant) == [0.5, 1, 1.5, 2, 2, 2, 2, 2, 2, 2])
        for (mine, expected) in zip(rates(.linear), [0.5, 1, 1.5, 2, 2, 1.55, 1.1, 0.65, 0.2, 0.2]) {
            #expect(abs(mine - expected) < 1e-12)
        }
        #expect(abs(rates(.cosine)[6] - 1.1) < 1e-12 && abs(rates(.cosine)[8] - 0.2) < 1e-12)
        let bare = LearningRateSchedule(peak: 1, warmUpUpdates: 0, totalUpdates: 0, decay: .linear)
        #expect(bare.rate(update: 0) == 0)
    }

    @Test func stepsFollowTheFormula() throws {
        let count = 100
        let random = CounterRandom(key: 1)
        let start = (0..<count).map { Float(random.uniform(UInt64($0)) - 0.5) }
        var state = AdamWState(weights: start)
        let (beta1, beta2, rate, decay) = (0.9, 0.999, 0.01, 0.1)
        var (p, m, v) = (
            start.map(Double.init), [Double](repeating: 0, count: count), [Double](repeating: 0, count: count)
        )
        for step in 1...5 {
            let gradient = (0..<count).map { Float(random.uniform(UInt64($0), UInt64(step)) - 0.4) }
            let norm = UpdateMath.globalNorm(gradient)
            let clip = UpdateMath.clipFactor(norm: norm, limit: 1)
            #expect(abs(Double(clip) - min(1, 1 / norm)) < 1e-6)
            for index in 0..<count {
                let g = Double(gradient[index]) * Double(clip)
                m[index] = beta1 * m[index] + (1 - beta1) * g
                v[index] = beta2 * v[index] + (1 - beta2) * g * g
                let (mHat, vHat) = (
                    m[index] / (1 - pow(beta1, Double(step))), v[index] / (1 - pow(beta2, Double(step)))
                )
                p[index] -= rate * (mHat / (vHat.squareRoot() + 1e-8) + decay * p[index])
            }
            let numbers = AdamWStep(
                learningRate: Float(rate), beta1: Float(beta1), beta2: Float(beta2), epsilon: 1e-8,
                weightDecay: Float(decay), gradientScale: clip,
                biasCorrection1: UpdateMath.biasCorrection(beta: beta1, step: step),
                biasCorrection2: UpdateMath.biasCorrection(beta: beta2, step: step))
            try state.apply(gradient: gradient, step: numbers, pool: ComputePool(threads: step % 2 + 1))
        }
        for index in 0..<count { #expect(abs(Double(state.weights[index]) - p[index]) < 1e-5) }
        #expect(UpdateMath.clipFactor(norm: 5, limit: 0) == 1)
    }

    @Test func lengthsAreChecked() throws {
        var state = AdamWState(weights: [1, 2])
        let step = AdamWStep(
            learningRate: 1, beta1: 0, beta2: 0, epsilon: 1, weightDecay: 0, gradientScale: 1, biasCorrection1: 1,
            biasCorrection2: 1)
        #expect(throws: MMedError.self) { try state.apply(gradient: [1], step: step, pool: ComputePool(threads: 1)) }
        #expect(throws: MMedError.self) { try AdamWState(weights: [1], firstMoment: [], secondMoment: [1]) }
    }

    @Test func firstWeightsDependOnTheSeedAlone() throws {
        let shape = ModelShape(
            layerCount: 2, hiddenSize: 16, queryWidth: 16, keyValueWidth: 8, intermediateSize: 24)
        let layout = AdapterLayout(settings: AdapterSettings(rank: 2, alpha: 4), shape: shape)
        let weights = AdapterInitialiser.weights(layout: layout, seed: 5)
        #expect(weights == AdapterInitialiser.weights(layout: layout, seed: 5))
        #expect(weights != AdapterInitialiser.weights(layout: layout, seed: 6))
        for pair in layout.pairs {
            let bound = 1 / Float(pair.input).squareRoot()
            let a = weights[pair.offsetA..<pair.offsetB]
            #expect(a.allSatisfy { abs($0) <= bound } && Set(a).count > a.count / 2)
            #expect(weights[pair.offsetB..<pair.offsetB + 2 * pair.output].allSatisfy { $0 == 0 })
        }
        #expect(throws: MMedError.self) { try Adapter(layout: layout, weights: [1]) }
        var broken = weights
        broken[3] = .nan
        #expect(throws: MMedError.self) { try Adapter(layout: layout, weights: broken) }
    }

    @Test func cacheRowsComeBackWhole() {
        var allocator = CacheAllocator(capacity: 100)
        var held: [CacheRange] = []
        let random = CounterRandom(key: 9)
        for turn in 0..<2000 {
            let draw = random.uniform(UInt64(turn))
            if draw < 0.55, let range = allocator.take(Int(draw * 40)) {
                for other in held where range.count > 0 && other.count > 0 {
                    #expect(range.start + range.count <= other.start || other.start + other.count <= range.start)
                }
                held.append(range)
            } else if !held.isEmpty {
                allocator.give(held.remove(at: Int(draw * Double(held.count))))
            }
            let free = allocator.free.reduce(0) { $0 + $1.count }
            #expect(free + held.reduce(0) { $0 + $1.count } == 100)
        }
        for range in held { allocator.give(range) }
        #expect(allocator.free == [CacheRange(start: 0, count: 100)])
    }
}
