import Foundation
import MMedConfig
import MMedCore
import MMedProtocol
import MMedScheduling
import MMedTransport
import Synchronization

/// The keys of a run under way: the coordinator's, the list of workers that may connect, and a key for each worker that the
/// coordinator starts itself. Those are made for this process, lie in `keys/` of the run's folder and go with it, so they
/// are on nobody's list and nobody has to carry them.
final class RunKeys: Sendable {
    private let folder: KeyFolder
    private let cluster: ClusterConfig
    private let localFolder: String
    private let local: [Identity]
    private let allowed: Mutex<AllowList>
    private let log: @Sendable (LogEntry) -> Void

    /// Makes the keys of local workers. Throws `tryAgain` when the disk refuses.
    init(
        _ folder: KeyFolder, cluster: ClusterConfig, runFolder: String, log: @escaping @Sendable (LogEntry) -> Void
    ) throws(MMedError) {
        (self.folder, self.cluster, self.log) = (folder, cluster, log)
        localFolder = runFolder + "/keys"
        try KeyFolder.makeEphemeral(localFolder)
        var local: [Identity] = []
        for (name, role) in RunKeys.localWorkers(cluster) {
            local.append(try folder.ephemeralKey(for: name, role: role, in: localFolder))
        }
        self.local = local
        allowed = Mutex(try AllowList(folder.workers.all + local))
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
    func file(of name: String) -> String? { Name(name).map { KeyFolder.keyPath(localFolder, $0) } }

    /// What the endpoint needs.
    var ofEndpoint: CoordinatorKeys {
        let log = log
        return CoordinatorKeys(key: folder.coordinator, workers: allowed.withLock { $0 }) { refusal in
            log(
                LogEntry(
                    .warn, scope: "run", event: "key-refused",
                    fields: [
                        .init("key", .text(refusal.key?.text ?? "none")), .init("address", .text(refusal.address)),
                        .init("refusals", .int(Int(clamping: refusal.count))),
                    ]))
        }
    }

    /// Says what holds, and from now on reads the list again at each SIGHUP, until the result is cancelled.
    func serve(_ endpoint: ZeroMQCoordinatorEndpoint, say: @escaping @Sendable (String) -> Void) -> ReloadSignal {
        let listed = folder.workers.count
        log(
            LogEntry(
                .info, scope: "run", event: "keys-on",
                fields: [
                    .init("listed", .int(listed)), .init("own_workers", .int(local.count)),
                    .init("random_key", .text("refused")),
                ]))
        let own = ProcessInfo.processInfo.processIdentifier
        say("keys: \(folder.path), \(listed) workers on the list; after a change of workers.allow: kill -HUP \(own)")
        return ReloadSignal { [weak self] in self?.reload(endpoint) }
    }

    /// A list that cannot be read, or that would lock the run's own workers out, changes nothing.
    private func reload(_ endpoint: ZeroMQCoordinatorEndpoint) {
        let former = allowed.withLock { $0 }
        do {
            let listed = try AllowList.read(KeyFolder.listPath(folder.path))
            try RunKeys.requireDistinct(listed, folder.path, cluster)
            let next = try AllowList(listed.all + local)
            endpoint.replaceWorkers(next)
            allowed.withLock { $0 = next }
            let changes = AllowListChanges(from: former, to: next)
            for (event, list) in [("key-removed", changes.removed), ("key-added", changes.added)] {
                for identity in list { log(RunKeys.entry(event, identity)) }
            }
            log(
                LogEntry(
                    .info, scope: "run", event: "keys-reloaded",
                    fields: [
                        .init("added", .int(changes.added.count)), .init("removed", .int(changes.removed.count)),
                        .init("listed", .int(listed.count)),
                    ]))
        } catch {
            log(
                LogEntry(
                    .warn, scope: "run", event: "keys-not-reloaded",
                    fields: [
                        .init("reason", .text("\(error)")), .init("kept", .int(former.count - local.count)),
                    ]))
        }
    }

    private static func entry(_ event: String, _ identity: Identity) -> LogEntry {
        LogEntry(
            .info, scope: "run", event: event,
            fields: [
                .init("worker", .text(identity.name.text)), .init("role", .text(identity.role.rawValue)),
                .init("key", .text(identity.key.text)),
            ])
    }

    /// Removes the keys of local workers: they were good for this process alone.
    func remove() { KeyFolder.removeEphemeral(localFolder) }
}
