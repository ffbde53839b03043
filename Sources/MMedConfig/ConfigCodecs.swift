import MMedCore

private func mistyped(_ node: ConfigNode, _ path: String, _ expects: String) -> MMedError {
    configError(node.place, path, "expected \(expects), found \(node.summary)", "correct the value")
}

extension ConfigCodec where Value == Int {
    /// A whole number in a range.
    static func integer(_ range: ClosedRange<Int>) -> ConfigCodec {
        let expects = "a whole number in \(range.lowerBound)...\(range.upperBound)"
        return ConfigCodec(
            expects: expects,
            read: { (node, path, _) throws(MMedError) in
                guard case .scalar(let text, isPlain: true) = node.content, let value = Int(text) else {
                    throw mistyped(node, path, expects)
                }
                guard range.contains(value) else { throw mistyped(node, path, expects) }
                return value
            }, write: { .scalar(String($0)) })
    }
}

extension ConfigCodec where Value == UInt64 {
    /// Any whole number that is not negative.
    static var seed: ConfigCodec {
        let expects = "a whole number in 0...\(UInt64.max)"
        return ConfigCodec(
            expects: expects,
            read: { (node, path, _) throws(MMedError) in
                guard case .scalar(let text, isPlain: true) = node.content, let value = UInt64(text) else {
                    throw mistyped(node, path, expects)
                }
                return value
            }, write: { .scalar(String($0)) })
    }
}

extension ConfigCodec where Value == Double {
    /// A number from `low` to `high`; `above` leaves the lower end out, `below` the upper.
    static func number(
        _ low: Double, _ high: Double, above: Bool = false, below: Bool = false
    ) -> ConfigCodec {
        let expects =
            "a number \(above ? "above" : "of at least") \(plain(low)) and \(below ? "below" : "at most") \(plain(high))"
        return ConfigCodec(
            expects: expects,
            read: { (node, path, _) throws(MMedError) in
                guard case .scalar(let text, isPlain: true) = node.content, let value = decimal(text),
                    above ? value > low : value >= low, below ? value < high : value <= high
                else { throw mistyped(node, path, expects) }
                return value
            }, write: { .scalar(plain($0)) })
    }

    private static func plain(_ value: Double) -> String {
        let text = "\(value)"
        return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
    }

    /// Decimal notation only: Swift would also take hexadecimal, `inf` and `nan`.
    private static func decimal(_ text: String) -> Double? {
        guard text.utf8.allSatisfy({ "0123456789+-.eE".utf8.contains($0) }) else { return nil }
        return Double(text).flatMap { $0.isFinite ? $0 : nil }
    }
}

extension ConfigCodec where Value == Bool {
    /// `true` or `false`.
    static var flag: ConfigCodec {
        ConfigCodec(
            expects: "true or false",
            read: { (node, path, _) throws(MMedError) in
                guard case .scalar(let text, isPlain: true) = node.content, let value = Bool(text) else {
                    throw mistyped(node, path, "true or false")
                }
                return value
            }, write: { .scalar($0 ? "true" : "false") })
    }
}

extension ConfigCodec where Value == String {
    /// A text with a bound on its length.
    static func text(_ characters: ClosedRange<Int>, _ what: String = "a text") -> ConfigCodec {
        let expects = "\(what) of \(characters.lowerBound) to \(characters.upperBound) characters"
        return ConfigCodec(
            expects: expects,
            read: { (node, path, _) throws(MMedError) in
                guard case .scalar(let text, _) = node.content, characters.contains(text.unicodeScalars.count),
                    !text.unicodeScalars.contains("\0")
                else { throw mistyped(node, path, expects) }
                return text
            }, write: { .text($0) })
    }
}

extension ConfigCodec where Value == Name {
    /// A name that is safe as a file name.
    static var name: ConfigCodec {
        let expects = "a name of 1 to 64 characters a-z 0-9 . _ - that begins with a letter or digit"
        return ConfigCodec(
            expects: expects,
            read: { (node, path, _) throws(MMedError) in
                guard case .scalar(let text, _) = node.content, let name = Name(text) else {
                    throw mistyped(node, path, expects)
                }
                return name
            }, write: { .text($0.text) })
    }
}

extension ConfigCodec where Value: RawRepresentable & CaseIterable, Value.RawValue == String {
    /// One of an enumeration's words.
    static var choice: ConfigCodec {
        let words = Value.allCases.map(\.rawValue)
        let expects = "one of " + words.joined(separator: ", ")
        return ConfigCodec(
            expects: expects,
            read: { (node, path, _) throws(MMedError) in
                guard case .scalar(let text, _) = node.content else { throw mistyped(node, path, expects) }
                guard let value = Value(rawValue: text) else {
                    let near = nearest(to: text, among: words)
                    throw configError(
                        node.place, path, "expected \(expects), found \(node.summary)",
                        near.map { "did you mean \($0)?" } ?? "choose one of them")
                }
                return value
            }, write: { .scalar($0.rawValue) })
    }
}

extension ConfigCodec where Value: ConfigSection {
    /// A group of keys.
    static var section: ConfigCodec {
        ConfigCodec(
            expects: "a group of keys",
            read: { (node, path, current) throws(MMedError) in
                var section = try Value.start(node, current: current ?? .empty, path: path)
                try section.read(node, path: path)
                return section
            }, write: { $0.resolved() }, inner: { Value.empty.descriptions() })
    }
}

extension ConfigCodec {
    /// The value, or `null` for none.
    static func optional<Wrapped>(_ codec: ConfigCodec<Wrapped>, none: String) -> ConfigCodec where Value == Wrapped? {
        ConfigCodec(
            expects: "\(codec.expects), or null (\(none))",
            read: { (node, path, current) throws(MMedError) in
                if case .null = node.content { return nil }
                return try codec.read(node, path, current ?? nil)
            }, write: { $0.map(codec.write) ?? .scalar("null") })
    }

    /// A list with a bound on its length; `distinct` refuses the same value twice, by its text.
    static func list<Element>(
        of codec: ConfigCodec<Element>, _ count: ClosedRange<Int>, distinct: Bool = false
    ) -> ConfigCodec where Value == [Element] {
        let expects = "a list of \(count.lowerBound) to \(count.upperBound), each \(codec.expects)"
        return ConfigCodec(
            expects: expects,
            read: { (node, path, _) throws(MMedError) in
                guard case .list(let items) = node.content, count.contains(items.count) else {
                    throw mistyped(node, path, expects)
                }
                var values: [Element] = []
                var seen: [String] = []
                for (index, item) in items.enumerated() {
                    let value = try codec.read(item, "\(path)[\(index)]", nil)
                    let text = codec.write(value).flowText
                    if distinct && seen.contains(text) {
                        throw configError(
                            item.place, "\(path)[\(index)]", "\(text) stands twice in the list", "remove one")
                    }
                    seen.append(text)
                    values.append(value)
                }
                return values
            }, write: { .list($0.map(codec.write)) }, inner: codec.inner, isList: true)
    }
}
