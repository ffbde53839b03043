import MMedCore

/// A group of keys, described by one table that serves reading, writing and the reference in `docs/CONFIG.md`.
protocol ConfigSection {
    /// The keys in the order of the reference.
    static var fields: [ConfigField<Self>] { get }
    /// What an element of a list starts from.
    static var empty: Self { get }
    /// What the keys of `node` are read onto; most sections take `current`, their defaults, as it is.
    static func start(_ node: ConfigNode, current: Self, path: String) throws(MMedError) -> Self
}

extension ConfigSection {
    static func start(_ node: ConfigNode, current: Self, path: String) throws(MMedError) -> Self { current }
}

/// How one kind of value is read, written and described.
struct ConfigCodec<Value> {
    /// What a message says was expected, with the allowed range.
    let expects: String
    /// Reads a value; `current` is the default it replaces, where there is one.
    let read: (_ node: ConfigNode, _ path: String, _ current: Value?) throws(MMedError) -> Value
    /// The value as it is written out.
    let write: (Value) -> ResolvedNode
    /// Keys below this one, made when someone asks for the reference: reading does not need them.
    var inner: () -> [KeyDescription] = { [] }
    /// True for a list of sections.
    var isList = false
}

/// A line of the reference.
struct KeyDescription {
    var path: String
    var expects: String
    var meaning: String
    var preset: String?
    var isRequired: Bool
}

/// One key of a section.
struct ConfigField<Section> {
    let key: String
    let isRequired: Bool
    let read: (_ node: ConfigNode, _ path: String, _ section: inout Section) throws(MMedError) -> Void
    let write: (Section) -> ResolvedNode
    let describe: (Section) -> [KeyDescription]

    /// Binds a key to a property.
    init<Value>(
        _ key: String, _ property: WritableKeyPath<Section, Value>, _ codec: ConfigCodec<Value>,
        required: Bool = false, _ meaning: String
    ) {
        self.key = key
        isRequired = required
        read = { (node, path, section) throws(MMedError) in
            section[keyPath: property] = try codec.read(node, path, section[keyPath: property])
        }
        write = { codec.write($0[keyPath: property]) }
        let (expects, inner, isList) = (codec.expects, codec.inner, codec.isList)
        describe = { section in
            let own = KeyDescription(path: key, expects: expects, meaning: meaning, preset: nil, isRequired: required)
            return keyDescriptions(own, codec.write(section[keyPath: property]), inner: inner(), isList: isList)
        }
    }
}

/// The lines of one key and of those below it. Not generic: a copy for every type of value costs the optimizer minutes.
@inline(never)
private func keyDescriptions(
    _ own: KeyDescription, _ value: ResolvedNode, inner: [KeyDescription], isList: Bool
) -> [KeyDescription] {
    let isGroup = !inner.isEmpty
    var rows: [KeyDescription] = []
    if !isGroup || isList {
        var own = own
        own.preset = own.isRequired ? nil : value.flowText
        rows.append(own)
    }
    let current = isGroup && !isList ? Dictionary(uniqueKeysWithValues: value.leaves()) : [:]
    for var row in inner {
        if !isList { row.preset = row.isRequired ? nil : current[row.path] ?? row.preset }
        row.path = own.path + (isList ? "[]." : ".") + row.path
        rows.append(row)
    }
    return rows
}

extension ConfigSection {
    /// Reads a map onto this section.
    ///
    /// - Throws: `badConfig` for a key that is not in the table, a required key that is missing, or a bad value.
    mutating func read(_ node: ConfigNode, path: String) throws(MMedError) {
        guard let entries = node.entries() else {
            throw configError(
                node.place, path, "expected a group of keys, found \(node.summary)", "indent the keys below it")
        }
        let fields = Self.fields
        for entry in entries {
            let full = path.isEmpty ? entry.key : path + "." + entry.key
            guard let field = fields.first(where: { $0.key == entry.key }) else {
                throw unknownKey(entry, path: path, known: fields.map(\.key))
            }
            try field.read(entry.node, full, &self)
        }
        for field in fields where field.isRequired && !entries.contains(where: { $0.key == field.key }) {
            let full = path.isEmpty ? field.key : path + "." + field.key
            throw configError(node.place, full, "this key is missing and has no default", "add it")
        }
    }

    /// The section as it is written out, every key of it.
    func resolved() -> ResolvedNode { .map(Self.fields.map { ($0.key, $0.write(self)) }) }

    /// Every key below this section.
    func descriptions() -> [KeyDescription] { Self.fields.flatMap { $0.describe(self) } }
}

/// An error at a key.
func configError(_ place: ConfigPlace, _ path: String, _ problem: String, _ mend: String) -> MMedError {
    let at = place.line == nil && place.source == "--set \(path)" ? place.text : "\(place.text): \(path)"
    return MMedError(.badConfig, at: path.isEmpty ? place.text : at, problem, mend: mend)
}

private func unknownKey(_ entry: ConfigNode.Entry, path: String, known: [String]) -> MMedError {
    let full = path.isEmpty ? entry.key : path + "." + entry.key
    if let near = nearest(to: entry.key, among: known) {
        let nearFull = path.isEmpty ? near : path + "." + near
        return configError(
            entry.place, full, "there is no such key", "did you mean \(nearFull)?"
        )
    }
    let elsewhere = RunConfig.everyKey.filter { $0.split(separator: ".").last.map(String.init) == entry.key }
    if !elsewhere.isEmpty {
        return configError(
            entry.place, full, "there is no such key here; it is known as \(elsewhere.joined(separator: " and "))",
            "move it there")
    }
    let place = path.isEmpty ? "at the top level" : "in \(path)"
    return configError(
        entry.place, full, "there is no such key; known \(place): \(known.joined(separator: ", "))",
        "remove or rename it")
}
