public import MMedCore
public import MMedProtocol

/// A folder of keys: the coordinator's, the list of workers, and keys of workers that wait to be carried to their hosts.
public struct KeyFolder: Sendable {
    /// The folder.
    public let path: String
    /// The coordinator's key.
    public let coordinator: CoordinatorKey
    /// Who may connect, as the file said when it was read last.
    public let workers: AllowList

    /// The list of workers of a folder.
    public static func listPath(_ folder: String) -> String { folder + "/workers.allow" }
    /// The file of a worker's key, named by the key's name.
    public static func keyPath(_ folder: String, _ name: Name) -> String { "\(folder)/\(name).key" }
    static func coordinatorPath(_ folder: String) -> String { folder + "/coordinator.key" }

    /// Reads a folder. Throws `badConfig` when something in it is missing, loose, another's, a link or malformed.
    public static func read(_ path: String) throws(MMedError) -> KeyFolder {
        try GuardedFile.checkFolder(path)
        return KeyFolder(
            path: path, coordinator: try .read(coordinatorPath(path)), workers: try .read(listPath(path)))
    }

    /// Makes the folder where it is missing, with a key for the coordinator and a list, and adds a key for each worker, in
    /// its file and on the list. A key that is there is never touched. Returns the files written.
    ///
    /// - Throws: `usage` when a worker of that name has a key, `badConfig` for a loose folder or names that overlap,
    ///   `tryAgain` when the disk refuses.
    public static func extend(_ path: String, workers: [(name: Name, role: WorkerRole)]) throws(MMedError) -> [String] {
        try GuardedFile.makeFolder(path)
        let lock = try GuardedFile.lock(path)
        defer { GuardedFile.unlock(lock) }
        let isNew = !GuardedFile.isThere(coordinatorPath(path))
        let coordinator: CoordinatorKey = isNew ? try .generate() : try .read(coordinatorPath(path))
        let list = isNew && !GuardedFile.isThere(listPath(path)) ? AllowList() : try .read(listPath(path))
        for (name, _) in workers where name.text == "coordinator" || GuardedFile.isThere(keyPath(path, name)) {
            throw MMedError(
                .usage, at: keyPath(path, name), "\(name) has a key already, and keys are never overwritten",
                mend: "choose another name; to replace a key, remove its file and its line in workers.allow first")
        }
        var keys: [WorkerKey] = []
        for (name, role) in workers {
            keys.append(try .generate(role: role, name: name, coordinator: coordinator.publicKey))
        }
        // Checked before the first file is written.
        _ = try AllowList(list.all + keys.map(\.identity))
        var files = keys.map { (keyPath(path, $0.identity.name), $0.fileText) }
        if isNew { files.insert((coordinatorPath(path), coordinator.fileText), at: 0) }
        let lines = keys.map { AllowList.line($0.identity) }.joined()
        let listed = GuardedFile.isThere(listPath(path)) ? try listText(path) : AllowList.head
        try write(files, list: listed + lines, in: path)
        return files.map(\.0) + [listPath(path)]
    }

    /// The keys first, then the list that names them, put in its place whole. When one cannot be written, none is left.
    private static func write(
        _ files: [(path: String, text: String)], list: String, in folder: String
    ) throws(MMedError) {
        var written: [String] = []
        do {
            for (path, text) in files {
                try GuardedFile.create(path, text)
                written.append(path)
            }
            let fresh = listPath(folder) + ".new"
            // What a keygen that was cut off left.
            GuardedFile.remove(fresh)
            written.append(fresh)
            try GuardedFile.create(fresh, list)
            try GuardedFile.rename(fresh, to: listPath(folder))
        } catch {
            for path in written { GuardedFile.remove(path) }
            throw error
        }
    }

    /// A key that lasts for one run, for a worker that the coordinator starts itself; it is on no list of the folder.
    public func ephemeralKey(for name: Name, role: WorkerRole, in folder: String) throws(MMedError) -> Identity {
        let key = try WorkerKey.generate(role: role, name: name, coordinator: coordinator.publicKey)
        try GuardedFile.create(KeyFolder.keyPath(folder, name), key.fileText)
        return key.identity
    }

    /// An empty folder of mode 700 for ephemeral keys; what a former process left in it is removed.
    public static func makeEphemeral(_ path: String) throws(MMedError) {
        removeEphemeral(path)
        try GuardedFile.makeFolder(path)
    }

    /// Removes a folder of ephemeral keys with the keys in it.
    public static func removeEphemeral(_ path: String) { GuardedFile.removeKeys(in: path) }

    private static func listText(_ path: String) throws(MMedError) -> String {
        let text = try GuardedFile.read(listPath(path), "list of workers", ifMissing: "make it with mmed-coord keygen")
        return text.hasSuffix("\n") ? text : text + "\n"
    }
}
