import MMedCore

/// The shared prompts of one sampling call: who stands on which, and the cache rows of each.
struct PromptForest {
    /// In order of creation, so that a parent precedes its children.
    private(set) var nodes: [PromptNode] = []
    private var byKey: [PromptNode.Key: PromptNode] = [:]
    /// Requests not yet admitted, by the prompts they will need.
    private var waiting: [PromptNode.Key: Int] = [:]
    var allocator: CacheAllocator

    init(requests: [SampleRequest], capacity: Int) {
        allocator = CacheAllocator(capacity: capacity)
        for request in requests {
            for key in PromptForest.keys(request) { waiting[key, default: 0] += 1 }
        }
    }

    /// Its prefix, then its suffix; an empty stretch has no key.
    static func keys(_ request: SampleRequest) -> [PromptNode.Key] {
        var keys: [PromptNode.Key] = []
        if !request.prefixIds.isEmpty {
            keys.append(PromptNode.Key(adapter: request.adapter, prefixIds: request.prefixIds, suffixIds: nil))
        }
        if !request.suffixIds.isEmpty {
            keys.append(
                PromptNode.Key(
                    adapter: request.adapter, prefixIds: request.prefixIds, suffixIds: request.suffixIds))
        }
        return keys
    }

    /// Completion rows of a request: its budget, and what a forced trigger adds.
    static func completionRows(_ request: SampleRequest) -> Int {
        request.maxTokens + (request.choiceProbe?.triggerIds.count ?? 0)
    }

    /// The path with its cache rows, or nil when the memory is taken.
    mutating func admit(_ request: SampleRequest, index: Int) -> ActivePath? {
        let keys = PromptForest.keys(request)
        var chain: [PromptNode] = []
        for key in keys {
            guard let node = find(key, parent: chain.last) else {
                if let last = chain.last { release(last) }
                return nil
            }
            // Held while the rest is looked for, so that making room cannot take it.
            node.users += 1
            if let parent = chain.last { parent.users -= 1 }
            chain.append(node)
        }
        guard let leaf = chain.last, let range = takeRows(PromptForest.completionRows(request)) else {
            if let last = chain.last { release(last) }
            return nil
        }
        for key in keys { waiting[key, default: 1] -= 1 }
        return ActivePath(index: index, request: request, leaf: leaf, range: range)
    }

    /// Gives a finished path's rows back, and its prompts' where nobody will need them again.
    mutating func finish(_ path: ActivePath) {
        allocator.give(path.range)
        release(path.leaf)
    }

    private mutating func find(_ key: PromptNode.Key, parent: PromptNode?) -> PromptNode? {
        if let node = byKey[key] { return node }
        let ids = key.suffixIds ?? key.prefixIds
        guard let range = takeRows(ids.count) else { return nil }
        let node = PromptNode(key: key, ids: ids, parent: parent, range: range)
        parent?.users += 1
        nodes.append(node)
        byKey[key] = node
        return node
    }

    /// Makes room by dropping prompts that only later requests will need; they are computed again then.
    private mutating func takeRows(_ count: Int) -> CacheRange? {
        while true {
            if let range = allocator.take(count) { return range }
            guard let idle = nodes.last(where: { $0.users == 0 }) else { return nil }
            remove(idle)
        }
    }

    private mutating func release(_ node: PromptNode) {
        node.users -= 1
        if node.users == 0, waiting[node.key, default: 0] == 0 { remove(node) }
    }

    private mutating func remove(_ node: PromptNode) {
        allocator.give(node.range)
        nodes.removeAll { $0 === node }
        byKey[node.key] = nil
        if let parent = node.parent { release(parent) }
    }
}
