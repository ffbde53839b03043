public import MMedProtocol
import MMedCore

/// Cuts the trees of an update into shards, and each shard into microbatches, by token counts alone: the same trees give
/// the same lists whatever workers there are, so a gradient's bits do not depend on them.
public enum Batching {
    /// Bytes of tokens and numbers in one lease at most: half of what a message carries.
    static let leaseBytes = Limits.payloadBytes / 2

    /// Bytes that a question adds to a rollout lease, its slots included.
    static func leaseBytes(of question: QuestionPlan) -> Int {
        let tokens = question.suffixIds.reduce(question.prefixIds.count) { $0 + $1.count }
        let options = question.reward.options.reduce(0) { $0 + $1.utf8.count }
        return 4 * tokens + options + 64 * question.suffixIds.count * question.pathsPerPrompt + 256
    }

    /// Shards of an update: `count`, or more where so few would not fit into their messages. It follows from the trees
    /// alone, like the shards themselves.
    public static func shardCount(of trees: [LearningTree], atLeast count: Int) -> Int {
        var bytes = 0
        for tree in trees {
            bytes += 4 * tree.tree.tokenCount + 64 * tree.targets.count
            for target in tree.targets { bytes += 4 * (target.rollLogprobs.count + target.proxLogprobs.count) }
        }
        // A shard ends within a piece of its equal part, and pieces of a cut tree repeat their prefix: hence the half.
        return max(count, (bytes + leaseBytes / 2 - 1) / (leaseBytes / 2))
    }

    /// `shards` lists at most, none empty, of microbatches of at most `microbatchTokens` tokens; trees keep their order.
    /// A tree above the budget is split between its paths (the pieces repeat what they share); one path alone may exceed it.
    public static func shards(
        of trees: [LearningTree], count: Int, microbatchTokens: Int
    ) -> [[[LearningTree]]] {
        let pieces = trees.flatMap { split($0, budget: microbatchTokens) }
        let total = pieces.reduce(0) { $0 + $1.tree.tokenCount }
        var shards: [[LearningTree]] = []
        var current: [LearningTree] = []
        var seen = 0
        for piece in pieces {
            // A shard ends where the running sum passes the next of `count` equal marks.
            let mark = total * (shards.count + 1) / max(1, count)
            if !current.isEmpty && shards.count < count - 1 && seen + piece.tree.tokenCount / 2 >= mark {
                shards.append(current)
                current = []
            }
            current.append(piece)
            seen += piece.tree.tokenCount
        }
        if !current.isEmpty { shards.append(current) }
        return shards.map { microbatches(of: $0, budget: microbatchTokens) }
    }

    private static func microbatches(of trees: [LearningTree], budget: Int) -> [[LearningTree]] {
        var batches: [[LearningTree]] = []
        var current: [LearningTree] = []
        var tokens = 0
        for tree in trees {
            if !current.isEmpty && tokens + tree.tree.tokenCount > budget {
                batches.append(current)
                current = []
                tokens = 0
            }
            current.append(tree)
            tokens += tree.tree.tokenCount
        }
        if !current.isEmpty { batches.append(current) }
        return batches
    }

    private static func split(_ tree: LearningTree, budget: Int) -> [LearningTree] {
        guard tree.tree.tokenCount > budget, tree.tree.paths.count > 1 else { return [tree] }
        var pieces: [LearningTree] = []
        var piece = emptyPiece(of: tree)
        for (path, target) in zip(tree.tree.paths, tree.targets) {
            var grown = piece
            append(path, target, from: tree, to: &grown)
            if !piece.targets.isEmpty && grown.tree.tokenCount > budget {
                pieces.append(piece)
                grown = emptyPiece(of: tree)
                append(path, target, from: tree, to: &grown)
            }
            piece = grown
        }
        pieces.append(piece)
        return pieces
    }

    private static func emptyPiece(of tree: LearningTree) -> LearningTree {
        LearningTree(tree: PromptTree(prefixIds: tree.tree.prefixIds, suffixIds: [], paths: []), targets: [])
    }

    private static func append(
        _ path: TreePath, _ target: PathTarget, from tree: LearningTree, to piece: inout LearningTree
    ) {
        let suffix = tree.tree.suffixIds[path.suffix]
        // Suffixes are distinct within a tree, so the ids find the suffix again.
        let index: Int
        if let known = piece.tree.suffixIds.firstIndex(of: suffix) {
            index = known
        } else {
            piece.tree.suffixIds.append(suffix)
            index = piece.tree.suffixIds.count - 1
        }
        piece.tree.paths.append(TreePath(suffix: index, completionIds: path.completionIds))
        piece.targets.append(target)
    }
}
