public import MMedCore
public import MMedProtocol

/// The public keys that may connect, each with its role and name. Names do not overlap, so a worker's name tells its key.
public struct AllowList: Equatable, Sendable {
    /// By the text of the public key, as ZeroMQ hands it over with each message.
    private let identities: [String: Identity]

    /// Nobody.
    public init() { identities = [:] }

    /// Keys and names that must be distinct. Throws `badConfig` naming the first that are not.
    public init(_ list: [Identity]) throws(MMedError) {
        if let clash = AllowList.clash(list) {
            throw MMedError(.badConfig, at: "keys", clash.problem, mend: clash.mend)
        }
        identities = Dictionary(list.map { ($0.key.text, $0) }) { first, _ in first }
    }

    /// Everyone on the list, in the order of their names.
    public var all: [Identity] { identities.values.sorted { $0.name < $1.name } }

    /// The keys on the list.
    public var count: Int { identities.count }

    /// Whose key this is; nil when it is not on the list.
    public func identity(of key: String) -> Identity? { identities[key] }

    /// True while this key is on the list with the same role and name.
    public func admits(_ identity: Identity) -> Bool { identities[identity.key.text] == identity }

    private static func clash(_ list: [Identity]) -> (index: Int, problem: String, mend: String)? {
        var keys = Set<String>()
        var names = Set<String>()
        for (index, identity) in list.enumerated() {
            guard keys.insert(identity.key.text).inserted else {
                return (index, "the key of \(identity.name) stands twice", "remove one")
            }
            guard names.insert(identity.name.text).inserted else {
                return (index, "the name \(identity.name) stands twice", "give each key a name of its own")
            }
        }
        for (index, identity) in list.enumerated() {
            let text = identity.name.text
            for dot in text.indices where text[dot] == "." && names.contains(String(text[..<dot])) {
                return (
                    index, "\(text) is a name that the key of \(text[..<dot]) stands for too",
                    "rename one: a key stands for its name, and for that with a dot and more behind it"
                )
            }
        }
        return nil
    }

    // MARK: The file

    /// Keys of a list at most: as many as peers.
    static let countMax = Limits.peers
    static let format = "mmed-workers 1"

    /// Reads a list. Throws `badConfig` when the file is loose, another's, a link or malformed.
    public static func read(_ path: String) throws(MMedError) -> AllowList {
        let text = try GuardedFile.read(
            path, "list of workers",
            ifMissing: "make it: mmed-coord keygen --output FOLDER --worker NAME --role learner")
        let lines = try KeyLines(path, text, format: format)
        var list: [Identity] = []
        for (number, word, value) in lines.lines {
            let parts = value.split(separator: " ")
            guard word == "worker", parts.count == 3, let key = PublicKey(String(parts[0])),
                let role = WorkerRole(rawValue: String(parts[1])), let name = Name(String(parts[2]))
            else {
                throw lines.error(
                    number,
                    "expected \"worker PUBLIC-KEY ROLE NAME\": 40 characters of Z85, rollout or learner, a name")
            }
            list.append(Identity(key: key, role: role, name: name))
        }
        guard list.count <= countMax else {
            throw lines.error(lines.lines[countMax].number, "expected at most \(countMax) workers")
        }
        if let clash = clash(list) {
            throw MMedError(
                .badConfig, at: "\(path):\(lines.lines[clash.index].number)", clash.problem, mend: clash.mend)
        }
        return try AllowList(list)
    }

    static let head = """
        # The workers that may connect: `worker PUBLIC-KEY ROLE NAME`, one a line. Format: docs/SECURITY.md.
        # To revoke a key, remove its line and send the coordinator SIGHUP.
        \(format)

        """

    static func line(_ identity: Identity) -> String {
        "worker \(identity.key) \(identity.role.rawValue) \(identity.name)\n"
    }
}

/// What differs between two lists, in the order of names.
public struct AllowListChanges: Equatable, Sendable {
    /// Keys that are new, or have another role or name.
    public var added: [Identity]
    /// Keys that are gone, or have another role or name.
    public var removed: [Identity]

    /// From one list to the next.
    public init(from old: AllowList, to new: AllowList) {
        added = new.all.filter { !old.admits($0) }
        removed = old.all.filter { !new.admits($0) }
    }
}
