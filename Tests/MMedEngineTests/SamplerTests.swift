import Foundation
import MMedCore
@testable import MMedEngine
import MMedTensor
import Testing

@Suite struct SamplerTests {
    private func sampler(_ model: LanguageModel) -> Sampler { Sampler(model: model, pool: ComputePool(threads: 1)) }

    private func request(_ key: UInt64, maxTokens: Int = 20, stop: [Int32] = []) -> SampleRequest {
        SampleRequest(
            slotKey: key, prefixIds: Material.ids(5, seed: 1), suffixIds: Material.ids(2, seed: 2),
            maxTokens: maxTokens, stopTokenIds: stop)
    }

    @Test func stopsAtTheStopTokenOrTheBudget() throws {
        let model = try Material.model()
        let whole = try sampler(model).sample([request(1)])[0]
        #expect(whole.stopReason == .budget && whole.completionIds.count == 20 && whole.logprobs.count == 20)
        let stop = whole.completionIds[7]
        let first = try #require(whole.completionIds.firstIndex(of: stop))
        let cut = try sampler(model).sample([request(1, stop: [66, stop])])[0]
        let expected = whole.completionIds.prefix { $0 != 66 && $0 != stop }.count
        #expect(expected <= first)
        #expect(cut.stopReason == .endToken && cut.completionIds == Array(whole.completionIds[...expected]))
        #expect(cut.logprobs == Array(whole.logprobs[...expected]))
    }

    /// The choice is the same numbers wherever it is met: drawn by the path, forced after its end, or scored by the learner.
    @Test func choiceIsMeasuredAtTheTrigger() throws {
        let model = try Material.model()
        let letters: [Int32] = [10, 11, 12, 13]
        let plain = try sampler(model).sample([request(4)])[0]
        func expected(_ ids: [Int32]) throws -> [Float] {
            let tree = PromptTree(
                prefixIds: Material.ids(5, seed: 1), suffixIds: [Material.ids(2, seed: 2)],
                paths: letters.map { TreePath(suffix: 0, completionIds: ids + [$0]) })
            let learner = Learner(model: model, pool: ComputePool(threads: 1))
            return try learner.score([tree], adapter: nil)[0].map { $0[ids.count] }
        }
        func close(_ left: [Float]?, _ right: [Float]) -> Bool {
            guard let left, left.count == right.count else { return false }
            return zip(left, right).allSatisfy { abs($0 - $1) < 1e-5 }
        }
        let watched = Array(plain.completionIds[5...6])
        let first = try #require(
            (1..<20).first { Array(plain.completionIds[($0 - 1)...$0]) == watched })
        let met = ChoiceProbe(triggerIds: [3, 4], watches: [[60, 61, 62], watched], letterIds: letters)
        var probing = request(4)
        probing.choiceProbe = met
        let inside = try sampler(model).sample([probing])[0]
        #expect(inside.completionIds == plain.completionIds && inside.logprobs == plain.logprobs)
        #expect(close(inside.choiceLogprobs, try expected(Array(plain.completionIds[...first]))))

        let unmet = ChoiceProbe(triggerIds: [3, 4], watches: [[60, 61, 62, 63]], letterIds: letters)
        probing.choiceProbe = unmet
        let forced = try sampler(model).sample([probing])[0]
        #expect(forced.completionIds == plain.completionIds && forced.logprobs == plain.logprobs)
        #expect(close(forced.choiceLogprobs, try expected(plain.completionIds + [3, 4])))

        // A final stop token is not part of what the trigger follows.
        probing.stopTokenIds = [plain.completionIds[7]]
        let stopped = try sampler(model).sample([probing])[0]
        #expect(stopped.stopReason == .endToken)
        #expect(close(stopped.choiceLogprobs, try expected(Array(stopped.completionIds.dropLast()) + [3, 4])))

        // Met by the very last token of the budget: one more pass measures it.
        probing.stopTokenIds = []
        probing.maxTokens = first + 1
        probing.choiceProbe = met
        let last = try sampler(model).sample([probing])[0]
        #expect(last.completionIds.count == first + 1)
        #expect(last.choiceLogprobs == inside.choiceLogprobs)
    }

    /// Frequencies of the first token over many slots against the learner's probabilities, cut as asked.
    @Test(arguments: [(0, Float(1)), (5, 1), (0, 0.6), (8, 0.7)])
    func drawsFollowTheDistribution(topK: Int, topP: Float) throws {
        let model = try Material.model()
        let count = 4000
        let temperature: Float = 1.3
        let requests = (0..<count).map { key in
            var one = request(UInt64(key), maxTokens: 1)
            (one.topK, one.topP, one.temperature) = (topK, topP, temperature)
            return one
        }
        let tree = PromptTree(
            prefixIds: Material.ids(5, seed: 1), suffixIds: [Material.ids(2, seed: 2)],
            paths: (0..<Int32(67)).map { TreePath(suffix: 0, completionIds: [$0]) })
        let learner = Learner(model: model, pool: ComputePool(threads: 1))
        let logprobs = try learner.score([tree], adapter: nil, temperature: temperature)[0].map { Double($0[0]) }
        var order = logprobs.indices.sorted { logprobs[$0] > logprobs[$1] }
        if topK > 0 { order = Array(order.prefix(topK)) }
        let kept = order.reduce(0.0) { $0 + exp(logprobs[$1]) }
        var mass = 0.0
        var cut: [Int: Double] = [:]
        for id in order {
            if topP < 1, mass >= Double(topP) * kept { break }
            cut[id] = exp(logprobs[id])
            mass += exp(logprobs[id])
        }
        var seen = [Int](repeating: 0, count: 67)
        for result in try sampler(model).sample(requests) {
            let id = Int(result.completionIds[0])
            seen[id] += 1
            #expect(abs(Double(result.logprobs[0]) - logprobs[id]) < 1e-6)
        }
        for id in 0..<67 {
            let probability = (cut[id] ?? 0) / mass
            let tolerance = 5 * (probability * (1 - probability) / Double(count)).squareRoot() + 1e-9
            #expect(abs(Double(seen[id]) / Double(count) - probability) <= tolerance, "token \(id)")
        }
    }

    @Test func greedyTakesTheBest() throws {
        let model = try Material.model()
        var greedy = request(1, maxTokens: 3)
        greedy.temperature = 0
        let result = try sampler(model).sample([greedy])[0]
        var ids: [Int32] = []
        let learner = Learner(model: model, pool: ComputePool(threads: 1))
        for token in 0..<3 {
            let tree = PromptTree(
                prefixIds: greedy.prefixIds, suffixIds: [greedy.suffixIds],
                paths: (0..<Int32(67)).map { TreePath(suffix: 0, completionIds: ids + [$0]) })
            let last = try learner.score([tree], adapter: nil)[0].map { $0[token] }
            let best = try #require(last.indices.max { last[$0] < last[$1] })
            #expect(result.completionIds[token] == Int32(best) && result.logprobs[token] == last[best])
            ids.append(Int32(best))
        }
    }

    @Test func cancellingEndsTheCall() throws {
        let model = try Material.model()
        var passes = 0
        #expect(throws: CancellationError.self) {
            try sampler(model).sample(
                [request(1)],
                isCancelled: {
                    passes += 1
                    return passes > 3
                })
        }
        #expect(passes == 4)
    }

    @Test func badRequestsAreNamed() throws {
        let model = try Material.model()
        func refuse(_ change: (inout SampleRequest) -> Void) {
            var bad = request(1)
            change(&bad)
            #expect(throws: MMedError.self) { try sampler(model).sample([bad]) }
        }
        refuse { $0.temperature = -1 }
        refuse { $0.temperature = .nan }
        refuse { $0.topP = 0 }
        refuse { $0.topK = -1 }
        refuse { $0.maxTokens = 0 }
        refuse { $0.maxTokens = .max }
        refuse { $0.adapter = 0 }
        refuse { $0.prefixIds = [99] }
        refuse { ($0.prefixIds, $0.suffixIds) = ([], []) }
        refuse { $0.choiceProbe = ChoiceProbe(triggerIds: [], watches: [], letterIds: [1]) }
        refuse { $0.choiceProbe = ChoiceProbe(triggerIds: [1], watches: [], letterIds: [70]) }
    }
}
