/// A shared stretch of prompts under way in the sampler: a prefix, or a suffix below one.
final class PromptNode {
    /// What makes two nodes the same.
    struct Key: Hashable {
        var adapter: Int?
        var prefixIds: [Int32]
        /// Nil is the prefix itself.
        var suffixIds: [Int32]?
    }

    let key: Key
    let ids: [Int32]
    let parent: PromptNode?
    /// Cache ranges of everything above, in position order.
    let context: [CacheRange]
    let range: CacheRange
    /// Rows already computed.
    var filled = 0
    /// Paths and child nodes that stand on it.
    var users = 0
    /// Residual stream after the last layer at the last row, once computed.
    var lastHidden: [Float] = []

    init(key: Key, ids: [Int32], parent: PromptNode?, range: CacheRange) {
        self.key = key
        self.ids = ids
        self.parent = parent
        self.range = range
        context = parent.map { $0.context + [$0.range] } ?? []
    }

    var isFilled: Bool { filled == ids.count }
    /// Cache ranges of everything through this node, in position order.
    var contextThrough: [CacheRange] { context + [range] }
}

/// A path under way in the sampler.
final class ActivePath {
    /// What the next hidden state is for.
    enum Phase {
        /// To draw the next token.
        case generating
        /// To measure the choice after the path has ended.
        case probing
    }

    let index: Int
    let request: SampleRequest
    let leaf: PromptNode
    let range: CacheRange
    var phase = Phase.generating
    /// Tokens whose rows are not yet computed.
    var pending: [Int32] = []
    /// Rows already computed.
    var filled = 0
    /// Residual stream after the last layer at the path's last row; nil while it is not known.
    var hidden: [Float]?
    var completionIds: [Int32] = []
    var logprobs: [Float] = []
    var choiceLogprobs: [Float]?
    var stopReason = StopReason.budget

    init(index: Int, request: SampleRequest, leaf: PromptNode, range: CacheRange) {
        self.index = index
        self.request = request
        self.leaf = leaf
        self.range = range
    }

    /// The completion's next token is the letter that the probe looks for.
    var endsWithTrigger: Bool { request.choiceProbe?.isDue(after: completionIds) ?? false }

    var result: SampleResult {
        SampleResult(
            completionIds: completionIds, logprobs: logprobs, stopReason: stopReason, choiceLogprobs: choiceLogprobs)
    }
}

extension ActivePath {
    /// Takes a drawn token; true when the path is over.
    func take(_ token: Int32, logprob: Float) -> Bool {
        completionIds.append(token)
        logprobs.append(logprob)
        if request.stopTokenIds.contains(token) {
            stopReason = .endToken
        } else if completionIds.count >= request.maxTokens {
            stopReason = .budget
        } else {
            pending = [token]
            return false
        }
        return !beginProbe()
    }

    /// Sets up the measuring of the choice where it is still to be done; false when nothing is.
    private func beginProbe() -> Bool {
        guard let probe = request.choiceProbe, choiceLogprobs == nil, let last = completionIds.last else {
            return false
        }
        phase = .probing
        if stopReason == .endToken {
            pending = probe.triggerIds
        } else {
            pending = endsWithTrigger ? [last] : [last] + probe.triggerIds
        }
        return true
    }
}
