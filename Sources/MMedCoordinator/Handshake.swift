import MMedCore
import MMedProtocol

/// What the coordinator asks of a worker before it may work.
struct Handshake {
    let modelDigest: Digest
    let adapters: [Name]

    enum Directive: Equatable {
        case accept
        case refuse(reason: String, mend: String)
    }

    /// Judges an introduction; `holder` is the live worker of the same name, if any. The identities are what the keys of
    /// both connections prove, nil where there are no keys.
    func judge(
        _ hello: Hello, by identity: Identity? = nil, holder: Hello?, holderIdentity: Identity? = nil
    ) -> Directive {
        if hello.major != WireVersion.major {
            return .refuse(
                reason: "it speaks wire version \(hello.major).\(hello.minor), this run \(WireVersion.major)"
                    + ".\(WireVersion.minor)",
                mend: "run mmed-worker and mmed-coord of the same release")
        }
        if let refusal = judge(hello, against: identity) { return refusal }
        if holder != nil, holderIdentity?.key != identity?.key {
            return .refuse(
                reason: "a live worker with another key has the name \(hello.name)",
                mend: "end that one first, or take its key off the list")
        }
        if hello.modelDigest != modelDigest {
            return .refuse(
                reason: "its model has digest \(hello.modelDigest.short), this run uses \(modelDigest.short)",
                mend: "give the worker the run's model with --model, or remove the wrong file from MMED_CACHE")
        }
        if let foreign = hello.adapters.first(where: { !adapters.contains($0) }) {
            return .refuse(
                reason: "it holds adapter \(foreign), which this run does not have", mend: "use \(known)")
        }
        if let holder, holder.instance != hello.instance, holder.role != hello.role {
            return .refuse(
                reason: "a live \(holder.role.rawValue) worker has the name \(hello.name)",
                mend: "give each worker a name of its own with --name")
        }
        return .accept
    }

    /// What a worker says of itself must be what its key stands for.
    private func judge(_ hello: Hello, against identity: Identity?) -> Directive? {
        guard let identity else { return nil }
        if hello.role != identity.role {
            return .refuse(
                reason: "its key is a \(identity.role.rawValue)'s, and it says that it is a \(hello.role.rawValue)",
                mend: "start it with --role \(identity.role.rawValue), or with a key of the other role")
        }
        if !identity.permits(hello.name) {
            return .refuse(
                reason: "its key is that of \(identity.name), and it says that it is \(hello.name)",
                mend: "leave out --name, or begin it with \(identity.name) and a dot")
        }
        return nil
    }

    /// What `--adapters` may name; a long list must still fit into a message.
    private var known: String {
        let shown = adapters.prefix(8).map(\.text).joined(separator: ", ")
        return adapters.count > 8 ? "one of: \(shown) and \(adapters.count - 8) more" : "one of: \(shown)"
    }
}

extension WorkerMessage {
    /// The message's name when a worker of this role has no business with it.
    func foreign(to role: WorkerRole) -> String? {
        switch (self, role) {
        case (.trajectories, .learner): "trajectories"
        case (.gradientChunk, .rollout): "gradientChunk"
        case (.updateApplied, .rollout): "updateApplied"
        default: nil
        }
    }
}
