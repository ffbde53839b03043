import Foundation
import MMedConfig
import MMedCore
import MMedLocks
import MMedProtocol
import MMedScheduling
import MMedTransport

/// The keys of a run under way: the coordinator's, the list of workers that may connect, and a key for each worker that the
/// coordinator starts itself. Those are made for this process, lie in `keys/` of the run's folder and go with it, so they
/// are on nobody's list and nobody has to carry them.
final class RunKeys: Sendable {
    private struct State: Sendable {
        /// The workers that the coordinator starts itself, once they have keys, and where those lie.
        var local: [Identity] = []
        var localFolder: String?
        var allowed: AllowList
        /// Nobody is told before the run has its folder.
        var log: @Sendable (LogEntry) -> Void = { _ in }
    }

    private let folder: KeyFolder
    private let cluster: ClusterConfig
    private let state: Locked<State>

    /// Keys that were read and found to fit the cluster.
    init(_ folder: KeyFolder, cluster: ClusterConfig) {
        (self.folder, self.cluster) = (folder, cluster)
        state = Locked(State(allowed: folder.workers))
    }

    /// Reads a folder of keys. Throws `badConfig` when it cannot be trusted, or when a key on its list has the name of a
    /// worker that the coordinator starts itself.
    static func read(_ path: String, for cluster: ClusterConfig) throws(MMedError) -> KeyFolder {
        let folder = try KeyFolder.read(path)
        try requireDistinct(folder.workers, path, cluster)
        return folder
    }

    private static func requireDistinct(
        _ list: AllowList, _ path: String, _ cluster: ClusterConfig
    ) throws(MMedError) {
        for (name, _) in localWorkers(cluster) {
            let clash = list.all.first { $0.permits(name) || $0.name.text.hasPrefix(name.text + ".") }
            guard let clash else { continue }
            throw MMedError(
                .badConfig, at: KeyFolder.listPath(path),
                "the key of \(clash.name) stands for \(name), which is a worker that the coordinator starts itself",
                mend: "give the key another name")
        }
    }

    private static func localWorkers(_ cluster: ClusterConfig) -> [(name: Name, role: WorkerRole)] {
        LocalWorkers.names(in: cluster).compactMap { text, worker in
            Name(text).map { ($0, worker.role == .rollout ? .rollout : .learner) }
        }
    }

    /// The file of a local worker's key.
    func file(of name: String) -> String? {
        guard let place = state.withLock({ $0.localFolder }), let name = Name(name) else { return nil }
        return KeyFolder.keyPath(place, name)
    }

    /// What the endpoint needs. Only workers of the list may connect until the run begins.
    var ofEndpoint: CoordinatorKeys {
        CoordinatorKeys(key: folder.coordinator, workers: folder.workers) { [weak self] refusal in
            self?.log(
                .warn, "key-refused",
                [
                    .init("key", .text(refusal.key?.text ?? "none")), .init("address", .text(refusal.address)),
                    .init("refusals", .int(Int(clamping: refusal.count))),
                ])
        }
    }

    /// Makes the keys of local workers and lets those in, says what holds, and from now on reads the list again at each
    /// SIGHUP, until the result is cancelled. Throws `tryAgain` when the disk refuses.
    func begin(
        _ endpoint: ZeroMQCoordinatorEndpoint, runFolder: String, log: @escaping @Sendable (LogEntry) -> Void,
        say: (String) -> Void
    ) throws(MMedError) -> ReloadSignal {
        let place = runFolder + "/keys"
        try KeyFolder.makeEphemeral(place)
        var local: [Identity] = []
        for (name, role) in RunKeys.localWorkers(cluster) {
            local.append(try folder.ephemeralKey(for: name, role: role, in: place))
        }
        let allowed = try AllowList(folder.workers.all + local)
        endpoint.replaceWorkers(allowed)
        state.withLock { [local] in $0 = State(local: local, localFolder: place, allowed: allowed, log: log) }
        let listed = folder.workers.count
        self.log(
            .info, "keys-on",
            [
                .init("listed", .int(listed)), .init("own_workers", .int(local.count)),
                .init("random_key", .text("refused")),
            ])
        let own = ProcessInfo.processInfo.processIdentifier
        say("keys: \(folder.path), \(listed) workers on the list; after a change of workers.allow: kill -HUP \(own)")
        return ReloadSignal { [weak self] in self?.reload(endpoint) }
    }

    /// A list that cannot be read, or that would lock the run's own workers out, changes nothing.
    private func reload(_ endpoint: ZeroMQCoordinatorEndpoint) {
        let (former, local) = state.withLock { ($0.allowed, $0.local) }
        do {
            let listed = try AllowList.read(KeyFolder.listPath(folder.path))
            try RunKeys.requireDistinct(listed, folder.path, cluster)
            let next = try AllowList(listed.all + local)
            endpoint.replaceWorkers(next)
            state.withLock { $0.allowed = next }
            let changes = AllowListChanges(from: former, to: next)
            for identity in changes.removed { log(.info, "key-removed", RunKeys.fields(identity)) }
            for identity in changes.added { log(.info, "key-added", RunKeys.fields(identity)) }
            log(
                .info, "keys-reloaded",
                [
                    .init("added", .int(changes.added.count)), .init("removed", .int(changes.removed.count)),
                    .init("listed", .int(listed.count)),
                ])
        } catch {
            log(
                .warn, "keys-not-reloaded",
                [.init("reason", .text("\(error)")), .init("kept", .int(former.count - local.count))])
        }
    }

    private func log(_ level: LogLevel, _ event: String, _ fields: [LogEntry.Field]) {
        state.withLock { $0.log }(LogEntry(level, scope: "run", event: event, fields: fields))
    }

    private static func fields(_ identity: Identity) -> [LogEntry.Field] {
        [
            .init("worker", .text(identity.name.text)), .init("role", .text(identity.role.rawValue)),
            .init("key", .text(identity.key.text)),
        ]
    }

    /// Removes the keys of local workers: they were good for this process alone.
    func end() { if let place = state.withLock({ $0.localFolder }) { KeyFolder.removeEphemeral(place) } }
}
