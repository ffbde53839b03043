import Foundation
public import MMedCore
public import MMedProtocol
import MMedTransport

/// What `mmed-coord keygen` does.
public enum KeygenTool {
    /// Makes or extends a folder of keys and returns lines for the user: the files, and what to do with them.
    ///
    /// - Throws: `usage` for a name that is none or has a key already, `badConfig` for a folder or list that cannot be
    ///   trusted, `tryAgain` when the disk refuses.
    public static func run(output: String, workers: [(name: String, role: WorkerRole)]) throws(MMedError) -> [String] {
        var named: [(name: Name, role: WorkerRole)] = []
        for (text, role) in workers {
            guard let name = Name(text) else {
                throw MMedError(
                    .usage, at: "--worker", "\"\(text)\" is no worker's name",
                    mend: "use lower-case letters, digits, dots, hyphens and underscores, at most 64")
            }
            named.append((name, role))
        }
        // Without a slash at the end, so that paths in messages read well.
        let folder = URL(fileURLWithPath: output).relativePath
        var lines = try KeyFolder.extend(folder, workers: named).map { "wrote \($0)" }
        if let first = named.first?.name {
            let file = KeyFolder.keyPath(folder, first)
            lines.append(
                "carry each worker's key to its host, mode 600, and remove it here: mmed-worker --key \(first).key "
                    + "--connect tcp://HOST:PORT (\(file) is secret)")
        }
        if let taken = named.first(where: { $0.name.text.wholeMatch(of: /(rollout|learner)-\d+(\..*)?/) != nil })?.name
        {
            lines.append(
                "careful: \(taken) is also how a coordinator names a worker that it starts itself; one with such workers "
                    + "(host: local in its cluster file) refuses this key")
        }
        lines.append("start with: mmed-coord start --keys \(folder) …, or keys: in the cluster file")
        return lines
    }
}
