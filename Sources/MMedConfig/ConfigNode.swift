import MMedCore
import Yams

/// Where a value was written.
struct ConfigPlace {
    /// `configs/a.yaml`, or `--set a.b`.
    var source: String
    /// From 1; nil where there are no lines.
    var line: Int?

    var text: String { line.map { "\(source):\($0)" } ?? source }
}

/// YAML as a tree in which every value knows its place.
struct ConfigNode {
    struct Entry {
        var key: String
        var place: ConfigPlace
        var node: ConfigNode
    }

    enum Content {
        case null
        /// `isPlain` is false for a quoted text, which is never a number.
        case scalar(String, isPlain: Bool)
        case list([ConfigNode])
        case map([Entry])
    }

    var content: Content
    var place: ConfigPlace

    /// For messages: what a user wrote, in a few words.
    var summary: String {
        switch content {
        case .null: "nothing"
        case .scalar(let text, let isPlain):
            isPlain ? String(text.prefix(40)) : "the text \"\(text.prefix(40))\""
        case .list(let items): "a list of \(items.count)"
        case .map: "a group of keys"
        }
    }

    /// Entries of a map; none for null, so that a section whose keys are all commented out is an empty one.
    func entries() -> [Entry]? {
        switch content {
        case .map(let entries): entries
        case .null: []
        default: nil
        }
    }

    /// Replaces what the other names, key by key in maps, whole otherwise.
    func overridden(by other: ConfigNode) -> ConfigNode {
        guard case .map(let theirs) = other.content, var mine = entries() else { return other }
        for entry in theirs {
            if let index = mine.firstIndex(where: { $0.key == entry.key }) {
                mine[index].node = mine[index].node.overridden(by: entry.node)
                mine[index].place = entry.place
            } else {
                mine.append(entry)
            }
        }
        return ConfigNode(content: .map(mine), place: place)
    }
}

extension ConfigNode {
    /// Values of a file at most: YAML's aliases could otherwise unfold without end.
    static let countMax = 20_000

    /// Reads one YAML document.
    ///
    /// - Throws: `badConfig` with file and line.
    init(yaml: String, source: String) throws(MMedError) {
        let root: Node?
        do {
            root = try Yams.compose(yaml: yaml)
        } catch {
            throw ConfigNode.syntaxError(error, source: source)
        }
        var count = 0
        self =
            try root.map { (node) throws(MMedError) in try ConfigNode(node, source: source, depth: 0, count: &count) }
            ?? ConfigNode(content: .null, place: ConfigPlace(source: source, line: nil))
    }

    /// `a.b=value` as the map that it stands for.
    ///
    /// - Throws: `badConfig` when there is no `=` or a key is empty.
    init(override text: String) throws(MMedError) {
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let keys = parts[0].split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2, !keys.contains("") else {
            throw MMedError(
                .badConfig, at: "--set \(text)", "this is not of the form path.to.key=value",
                mend: "write for example --set gba.steps=5")
        }
        let place = ConfigPlace(source: "--set \(parts[0])", line: nil)
        var node = try ConfigNode(yaml: String(parts[1]), source: place.source)
        node.forgetLines()
        for key in keys.reversed() {
            node = ConfigNode(content: .map([Entry(key: key, place: place, node: node)]), place: place)
        }
        self = node
    }

    private init(_ node: Node, source: String, depth: Int, count: inout Int) throws(MMedError) {
        let place = ConfigPlace(source: source, line: node.mark?.line)
        count += 1
        guard count <= ConfigNode.countMax, depth < 32 else {
            throw MMedError(
                .badConfig, at: place.text,
                "the file holds more than \(ConfigNode.countMax) values or nests deeper than 32",
                mend: "remove what no run needs")
        }
        switch node {
        case .scalar(let scalar):
            let isPlain = scalar.style == .plain || scalar.style == .any
            let isNull = isPlain && ["", "~", "null", "Null", "NULL"].contains(scalar.string)
            self.init(content: isNull ? .null : .scalar(scalar.string, isPlain: isPlain), place: place)
        case .sequence(let sequence):
            var items: [ConfigNode] = []
            for item in sequence { items.append(try ConfigNode(item, source: source, depth: depth + 1, count: &count)) }
            self.init(content: .list(items), place: place)
        case .mapping(let mapping):
            var entries: [Entry] = []
            for (key, value) in mapping {
                let keyPlace = ConfigPlace(source: source, line: key.mark?.line)
                guard case .scalar(let name) = key else {
                    throw MMedError(.badConfig, at: keyPlace.text, "a key must be a word", mend: "write key: value")
                }
                let child = try ConfigNode(value, source: source, depth: depth + 1, count: &count)
                entries.append(Entry(key: name.string, place: keyPlace, node: child))
            }
            self.init(content: .map(entries), place: place)
        case .alias:
            throw MMedError(
                .badConfig, at: place.text, "an alias stands here whose anchor is not known",
                mend: "write the value out")
        }
    }

    private mutating func forgetLines() {
        place.line = nil
        switch content {
        case .null, .scalar: break
        case .list(var items):
            for index in items.indices { items[index].forgetLines() }
            content = .list(items)
        case .map(var entries):
            for index in entries.indices {
                entries[index].place.line = nil
                entries[index].node.forgetLines()
            }
            content = .map(entries)
        }
    }

    private static func syntaxError(_ error: any Error, source: String) -> MMedError {
        var place = source
        var problem = "\(error)"
        switch error as? YamlError {
        case .scanner(_, let text, let mark, _), .parser(_, let text, let mark, _), .composer(_, let text, let mark, _):
            (place, problem) = ("\(source):\(mark.line)", text)
        case .duplicatedKeysInMapping(let duplicates, let context):
            let names = duplicates.sorted().joined(separator: ", ")
            (place, problem) = ("\(source):\(context.mark.line)", "the same key stands twice: \(names)")
        default: break
        }
        return MMedError(.badConfig, at: place, "this is not valid YAML: \(problem)", mend: "correct that line")
    }
}
