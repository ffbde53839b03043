public import MMedCore
public import MMedProtocol

/// The coordinator's own key, `coordinator.key`.
public struct CoordinatorKey: Sendable {
    /// Its two halves.
    let pair: KeyPair
    /// What workers pin.
    public var publicKey: PublicKey { pair.publicKey }

    /// A new one. Throws `internalError` when ZeroMQ makes none.
    static func generate() throws(MMedError) -> CoordinatorKey { CoordinatorKey(pair: try .generate()) }

    init(pair: KeyPair) { self.pair = pair }

    /// Reads a key file. Throws `badConfig` when it is loose, another's, a link or malformed.
    static func read(_ path: String) throws(MMedError) -> CoordinatorKey {
        let fields = try KeyFields(
            path, "key", kind: "coordinator", words: ["public-key", "secret-key"],
            ifMissing: "make it: mmed-coord keygen --output FOLDER --worker NAME --role learner")
        return CoordinatorKey(pair: try fields.pair())
    }

    var fileText: String {
        """
        # The coordinator's key. It is secret: mode 600, and it never leaves this machine. Format: docs/SECURITY.md.
        mmed-key 1
        kind coordinator
        public-key \(publicKey)
        secret-key \(pair.secretKey.text)

        """
    }
}

/// A worker's key with the public key of the one coordinator that it trusts.
public struct WorkerKey: Sendable {
    /// Public key, role and name.
    public let identity: Identity
    /// The coordinator it talks to, and no other.
    public let coordinator: PublicKey
    /// Its two halves.
    let pair: KeyPair

    init(_ pair: KeyPair, role: WorkerRole, name: Name, coordinator: PublicKey) {
        identity = Identity(key: pair.publicKey, role: role, name: name)
        self.coordinator = coordinator
        self.pair = pair
    }

    /// A new key. Throws `internalError` when ZeroMQ makes none.
    static func generate(role: WorkerRole, name: Name, coordinator: PublicKey) throws(MMedError) -> WorkerKey {
        WorkerKey(try .generate(), role: role, name: name, coordinator: coordinator)
    }

    /// Reads a key file. Throws `badConfig` when it is loose, another's, a link or malformed.
    public static func read(_ path: String) throws(MMedError) -> WorkerKey {
        let fields = try KeyFields(
            path, "key", kind: "worker", words: ["name", "role", "public-key", "secret-key", "coordinator-key"],
            ifMissing: "copy it from the coordinator's folder of keys, where mmed-coord keygen made it")
        let name = try fields.value("name", "a name of a-z 0-9 . _ -") { Name($0) }
        let role = try fields.value("role", "rollout or learner") { WorkerRole(rawValue: $0) }
        let coordinator = try fields.value("coordinator-key", "40 characters of Z85") { PublicKey($0) }
        return WorkerKey(try fields.pair(), role: role, name: name, coordinator: coordinator)
    }

    var fileText: String {
        """
        # A worker's key. It is secret: mode 600, on the worker's host alone. Format: docs/SECURITY.md.
        mmed-key 1
        kind worker
        name \(identity.name)
        role \(identity.role.rawValue)
        public-key \(identity.key)
        secret-key \(pair.secretKey.text)
        coordinator-key \(coordinator)

        """
    }
}

/// Lines of `word value` after a first line that names the format; `#` begins a comment line.
struct KeyLines {
    let path: String
    var lines: [(number: Int, word: Substring, value: Substring)] = []

    init(_ path: String, _ text: String, format: String) throws(MMedError) {
        self.path = path
        var isFirst = true
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let bare = line.drop { $0 == " " || $0 == "\t" }
            if bare.isEmpty || bare.hasPrefix("#") { continue }
            guard !isFirst else {
                guard bare == format else { throw error(index + 1, "expected the format line \"\(format)\"") }
                isFirst = false
                continue
            }
            let parts = bare.split(separator: " ", maxSplits: 1)
            guard parts.count == 2 else { throw error(index + 1, "expected a word and its value") }
            lines.append((index + 1, parts[0], parts[1]))
        }
        guard !isFirst else { throw error(1, "expected the format line \"\(format)\"") }
    }

    /// The words of a secret file are never repeated in a message: a key may stand where another word should.
    func error(_ line: Int, _ problem: String) -> MMedError {
        MMedError(
            .badConfig, at: "\(path):\(line)", problem,
            mend: "restore the file as mmed-coord keygen wrote it, or make a new one; docs/SECURITY.md has its format")
    }
}

/// The words of a key file, each there once.
private struct KeyFields {
    private let lines: KeyLines
    private var values: [Substring: (number: Int, value: Substring)] = [:]

    init(_ path: String, _ what: String, kind: String, words: [String], ifMissing: String) throws(MMedError) {
        lines = try KeyLines(path, GuardedFile.read(path, what, ifMissing: ifMissing), format: "mmed-key 1")
        for (number, word, value) in lines.lines {
            guard word == "kind" || words.contains(String(word)) else {
                throw lines.error(number, "there is no such word in a \(kind)'s key")
            }
            guard values.updateValue((number, value), forKey: word) == nil else {
                throw lines.error(number, "\(word) stands twice")
            }
        }
        guard let found = values["kind"] else { throw lines.error(1, "the line \"kind \(kind)\" is missing") }
        guard found.value == kind else {
            throw MMedError(
                .badConfig, at: path, "this key is not of kind \(kind)",
                mend: "give a worker its own key file, never coordinator.key")
        }
        for word in words where values[Substring(word)] == nil {
            throw lines.error(1, "the line \"\(word) …\" is missing")
        }
    }

    func value<Value>(_ word: Substring, _ expected: String, _ read: (String) -> Value?) throws(MMedError) -> Value {
        let found = values[word]
        guard let value = found.flatMap({ read(String($0.value)) }) else {
            throw lines.error(found?.number ?? 1, "\(word): expected \(expected)")
        }
        return value
    }

    func pair() throws(MMedError) -> KeyPair {
        let form = "40 characters of Z85"
        let publicKey = try value("public-key", form) { PublicKey($0) }
        let secretKey = try value("secret-key", form) { SecretKey($0) }
        guard secretKey.publicKey == publicKey else {
            throw lines.error(values["public-key"]?.number ?? 1, "the two halves of the key do not belong together")
        }
        return KeyPair(publicKey: publicKey, secretKey: secretKey)
    }
}
