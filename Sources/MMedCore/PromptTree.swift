/// One sequence of a prefix tree: which prompt it continues, and its own tokens.
public struct TreePath: Hashable, Sendable {
    /// Index into the tree's suffixes.
    public var suffix: Int
    /// Tokens of the completion, through the end token where there is one.
    public var completionIds: [Int32]

    /// A path below one suffix.
    public init(suffix: Int, completionIds: [Int32]) {
        self.suffix = suffix
        self.completionIds = completionIds
    }
}

/// A question's prefix tree: the shared prefix, below it the suffixes (one for each guideline prompt), below those the paths.
/// It is the unit of compute, in sampling and in learning.
public struct PromptTree: Hashable, Sendable {
    /// Tokens of the question, shared by all.
    public var prefixIds: [Int32]
    /// Tokens of each prompt after the prefix; at least one of prefix and suffix is not empty.
    public var suffixIds: [[Int32]]
    /// The paths, in slot order.
    public var paths: [TreePath]

    /// A tree of one question.
    public init(prefixIds: [Int32], suffixIds: [[Int32]], paths: [TreePath]) {
        self.prefixIds = prefixIds
        self.suffixIds = suffixIds
        self.paths = paths
    }

    /// Tokens that a forward pass computes, each shared token once.
    public var tokenCount: Int {
        var count = prefixIds.count
        for ids in suffixIds { count += ids.count }
        for path in paths { count += path.completionIds.count }
        return count
    }
}
