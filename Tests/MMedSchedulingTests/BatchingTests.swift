import MMedCore
import MMedProtocol
import Testing

@testable import MMedScheduling

@Suite struct BatchingTests {
    /// A path with what its gradient depends on, wherever the cut has put it.
    private struct Whole: Equatable {
        let prefix: [Int32], suffix: [Int32], completion: [Int32], target: PathTarget
    }

    private func paths(_ trees: [LearningTree]) -> [Whole] {
        trees.flatMap { tree in
            zip(tree.tree.paths, tree.targets).map { path, target in
                Whole(
                    prefix: tree.tree.prefixIds, suffix: tree.tree.suffixIds[path.suffix],
                    completion: path.completionIds, target: target)
            }
        }
    }

    private func drawTrees(_ draw: inout Draw) -> [LearningTree] {
        (0..<draw.int(0...12)).map { number in
            let suffixes = draw.int(1...4)
            var tree = LearningTree(
                tree: PromptTree(
                    prefixIds: (0..<draw.int(1...20)).map { Int32($0 + number) },
                    suffixIds: (0..<suffixes).map { [Int32](repeating: Int32($0), count: draw.int(1...4)) + [99] },
                    paths: []), targets: [])
            for path in 0..<draw.int(1...8) {
                tree.tree.paths.append(
                    TreePath(
                        suffix: draw.int(0...suffixes - 1),
                        completionIds: (0..<draw.int(1...30)).map { Int32($0 * 100 + path) }))
                tree.targets.append(
                    PathTarget(
                        weight: Double(number), advantage: Double(path), rollLogprobs: [], proxLogprobs: [],
                        counts: true))
            }
            return tree
        }
    }

    @Test func everyPathIsInOneMicrobatchInOrderWithinTheBudget() {
        for seed in 0..<500 as Range<UInt64> {
            var draw = Draw(seed: seed)
            let trees = drawTrees(&draw)
            let (count, budget) = (draw.int(1...6), draw.int(1...80))
            let shards = Batching.shards(of: trees, count: count, microbatchTokens: budget)
            #expect(paths(shards.flatMap { $0.flatMap { $0 } }) == paths(trees), "seed \(seed)")
            #expect(shards.count <= count, "seed \(seed)")
            for shard in shards {
                #expect(!shard.isEmpty, "seed \(seed)")
                for microbatch in shard {
                    let tokens = microbatch.reduce(0) { $0 + $1.tree.tokenCount }
                    let paths = microbatch.reduce(0) { $0 + $1.tree.paths.count }
                    // One path cannot be cut; whatever else is there fits.
                    #expect(tokens <= budget || paths == 1, "seed \(seed): \(tokens) of \(budget), \(paths) paths")
                    #expect(paths > 0, "seed \(seed)")
                    for tree in microbatch {
                        #expect(tree.targets.count == tree.tree.paths.count, "seed \(seed)")
                        #expect(tree.tree.paths.allSatisfy { tree.tree.suffixIds.indices.contains($0.suffix) })
                    }
                }
            }
        }
    }

    @Test func equalTreesMakeEqualShards() {
        let trees = (0..<16).map { Plans.example($0, tokens: 10) }
        let shards = Batching.shards(of: trees, count: 4, microbatchTokens: 1_000)
        #expect(shards.map { $0.flatMap { $0 }.count } == [4, 4, 4, 4])
    }

    @Test func oneShardAndMoreShardsThanTrees() {
        let trees = (0..<3).map { Plans.example($0, tokens: 10) }
        #expect(Batching.shards(of: trees, count: 1, microbatchTokens: 1_000).count == 1)
        #expect(Batching.shards(of: trees, count: 9, microbatchTokens: 1_000).count == 3)
        #expect(Batching.shards(of: [], count: 4, microbatchTokens: 1_000).isEmpty)
    }

    /// A tree whose first path is larger than the budget, and one whose suffixes are partly unused.
    @Test func aTreeAboveTheBudgetIsCutBetweenItsPaths() {
        let target = PathTarget(weight: 1, advantage: 1, rollLogprobs: [], proxLogprobs: [], counts: true)
        let tree = LearningTree(
            tree: PromptTree(
                prefixIds: [1, 2], suffixIds: [[3], [4], [5]],
                paths: [40, 3, 3, 3].enumerated().map { index, tokens in
                    TreePath(suffix: index == 2 ? 2 : 0, completionIds: [Int32](repeating: 8, count: tokens))
                }), targets: [target, target, target, target])
        let shards = Batching.shards(of: [tree], count: 1, microbatchTokens: 10)
        let pieces = shards[0].flatMap { $0 }
        #expect(pieces.map(\.tree.paths.count) == [1, 2, 1])
        #expect(pieces[1].tree.suffixIds == [[3], [5]])
        #expect(paths(pieces) == paths([tree]))
    }

    /// What an update takes must fit into its messages, whatever number of shards is set.
    @Test func largeUpdatesGetMoreShards() {
        let target = PathTarget(
            weight: 1, advantage: 1, rollLogprobs: [Float](repeating: -1, count: 1_000),
            proxLogprobs: [Float](repeating: -1, count: 1_000), counts: true)
        let trees = (0..<64).map { number in
            LearningTree(
                tree: PromptTree(
                    prefixIds: [1, 2, 3], suffixIds: [[4]],
                    paths: (0..<16).map { _ in
                        TreePath(suffix: 0, completionIds: [Int32](repeating: Int32(number), count: 1_000))
                    }), targets: [PathTarget](repeating: target, count: 16))
        }
        let count = Batching.shardCount(of: trees, atLeast: 4)
        let shards = Batching.shards(of: trees, count: count, microbatchTokens: 4_096)
        for shard in shards {
            let paths = shard.reduce(0) { $0 + $1.reduce(0) { $0 + $1.targets.count } }
            #expect(paths * 12_100 < Limits.payloadBytes * 3 / 4, "\(paths) paths")
        }
        #expect(shards.count > 4)
        #expect(Batching.shardCount(of: Array(trees.prefix(1)), atLeast: 4) == 4)
    }

    /// Long prompts make small leases: a lease is one message.
    @Test func leasesOfLongPromptsFitTheirMessage() {
        var stage = Plans.evaluate("eval-base", .base, steps: 1)
        stage.tracks = [stage.tracks[0]]
        stage.tracks[0].steps[0].questions = (0..<64).map { number in
            var question = Plans.question("q\(number)", prompts: 1, paths: 1)
            question.prefixIds = [Int32](repeating: 1, count: 30_000)
            return question
        }
        var script = Script(Plans.only([stage]) { $0.slotsPerLease = 1_024 })
        script.join("r", .rollout, credits: 60)
        #expect(script.rollouts.count > 2)
        for lease in script.rollouts { #expect(lease.questions.count * 120_300 < Limits.payloadBytes) }
        #expect(script.rollouts.flatMap { $0.questions.flatMap(\.slots) }.count == 64)
    }
}
