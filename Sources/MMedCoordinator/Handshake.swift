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

    /// Judges an introduction; `holder` is the live worker of the same name, if any.
    func judge(_ hello: Hello, holder: Hello?) -> Directive {
        if hello.major != WireVersion.major {
            return .refuse(
                reason: "it speaks wire version \(hello.major).\(hello.minor), this run \(WireVersion.major)"
                    + ".\(WireVersion.minor)",
                mend: "run mmed-worker and mmed-coord of the same release")
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

    /// What `--adapters` may name; a long list must still fit into a message.
    private var known: String {
        let shown = adapters.prefix(8).map(\.text).joined(separator: ", ")
        return adapters.count > 8 ? "one of: \(shown) and \(adapters.count - 8) more" : "one of: \(shown)"
    }
}
