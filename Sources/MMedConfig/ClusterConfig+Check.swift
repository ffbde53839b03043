public import MMedCore

extension ClusterConfig {
    /// Why `start` must refuse this cluster: it would leave this machine, and it has no keys that could protect the
    /// connection. Nil when there are keys, or every process is on this machine.
    public var nonLoopbackReason: String? {
        if self.keys != nil { return nil }
        let keys = "connections beyond this machine need keys"
        if !ListenAddress.isLocal(listen) {
            return "listen is \(listen), which is none of 127.x.x.x, localhost and [::1]: \(keys)"
        }
        if let index = workers.firstIndex(where: { !$0.isHere }) {
            return "workers[\(index)].host is \(workers[index].host), expected local or 127.0.0.1: \(keys)"
        }
        return nil
    }

    /// Refuses a cluster that could never finish the run; without any worker, those that will be started by hand are not known
    /// yet, and the run waits for them. `place` is the cluster file's path, for the message.
    ///
    /// - Throws: `badConfig` for a name that is no specialty, an adapter that no learner holds, or a missing kind of worker.
    public func check(against run: RunConfig, place: String) throws(MMedError) {
        for (index, worker) in workers.enumerated() {
            for name in worker.adapters.names where !run.specialties.contains(name) {
                let known = run.specialties.map(\.text)
                let near = nearest(to: name.text, among: known).map { "did you mean \($0)?" }
                throw MMedError(
                    .badConfig, at: "\(place): workers[\(index)].adapters",
                    "\(name) is no specialty of the run, expected some of \(known.joined(separator: ", "))",
                    mend: near ?? "correct the name")
            }
        }
        guard !workers.isEmpty else { return }
        if run.dsa.enabled || run.gba.enabled {
            let learners = workers.filter { $0.role == .learner }
            for name in run.specialties where !learners.contains(where: { $0.adapters.contains(name) }) {
                throw MMedError(
                    .badConfig, at: "\(place): workers", "no learner holds the adapter \(name)",
                    mend: learners.isEmpty ? "add a worker with role: learner" : "add it to a learner's adapters")
            }
        }
        if (run.gba.enabled || !run.eval.stages.isEmpty) && !workers.contains(where: { $0.role == .rollout }) {
            throw MMedError(
                .badConfig, at: "\(place): workers", "there is no rollout worker, which GBA and eval need",
                mend: "add a worker with role: rollout")
        }
    }
}

extension WorkerConfig {
    /// True on this machine: started by the coordinator, or by hand.
    var isHere: Bool { host == "local" || ListenAddress.loopbackHosts.contains(host) }
}

/// The addresses a coordinator can listen at.
enum ListenAddress {
    /// What is wrong with an address; nil when it can be used.
    static func problem(_ text: String) -> String? {
        if text.hasPrefix("ipc://") {
            let bytes = text.utf8.count - 6
            return (1...107).contains(bytes) ? nil : "expected a path of 1 to 107 bytes after ipc://, found \(bytes)"
        }
        guard text.hasPrefix("tcp://") else { return "expected tcp://HOST:PORT or ipc://PATH, found \(text)" }
        guard let (host, port) = parts(text), !host.isEmpty else {
            return "expected tcp://HOST:PORT with a port in 0...65535, found \(text)"
        }
        return (0...65535).contains(port) ? nil : "expected a port in 0...65535, found \(port)"
    }

    /// The hosts that the transport takes.
    static let loopbackHosts = ["127.0.0.1", "localhost", "[::1]", "::1"]

    /// True when nothing beyond this machine can reach the address.
    static func isLocal(_ text: String) -> Bool {
        if text.hasPrefix("ipc://") { return true }
        guard let (host, _) = parts(text) else { return false }
        return loopbackHosts.contains(host) || isIPv4Loopback(host)
    }

    /// `127.0.0.0/8` (RFC 1122), as the transport takes it.
    private static func isIPv4Loopback(_ host: String) -> Bool {
        let bytes = host.split(separator: ".", omittingEmptySubsequences: false)
        return bytes.count == 4 && bytes[0] == "127"
            && bytes.allSatisfy { part in UInt8(part).map { String($0) == part } ?? false }
    }

    private static func parts(_ text: String) -> (host: String, port: Int)? {
        let rest = text.dropFirst("tcp://".count)
        guard let colon = rest.lastIndex(of: ":") else { return nil }
        let digits = rest[rest.index(after: colon)...]
        guard !digits.isEmpty, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = Int(digits) else {
            return nil
        }
        return (String(rest[..<colon]), port)
    }
}
