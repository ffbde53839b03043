import Foundation
import MMedCore
import MMedFormats
import MMedProtocol
import MMedStore

/// All failpoints of the two programs, and how a process is armed.
public enum Failpoints {
    /// The variable that arms them.
    static let variable = "MMED_FAILPOINT"

    /// Arms what the environment asks for; nothing happens when it asks for nothing. With `count` the process tells at its end
    /// how often each place was passed. Throws `usage` for a text that names no failpoint.
    static func armFromEnvironment() throws(MMedError) {
        guard let text = ProcessInfo.processInfo.environment[variable], !text.isEmpty else { return }
        try Failpoint.arm(text, sites: coordinator + worker)
        guard text == "count" else { return }
        atexit {
            for (name, count) in Failpoint.passages {
                ProcessSetup.say("failpoint \(name) passed \(count)")
            }
        }
    }

    /// Lines `process name deeds`: every failpoint, the process that passes it, and what it can be asked to do.
    public static var list: String {
        [("coordinator", coordinator), ("worker", worker)].flatMap { process, sites in
            sites.map { "\(process) \($0.name) \($0.canThrow ? "kill,stop,trap,error" : "kill,stop,trap")" }
        }.joined(separator: "\n")
    }

    static let coordinator: [FailpointSite] = {
        let steps = ["epoch-raise", "first-bind", "journal-append", "store-save", "optimizer-apply", "merge"]
        var sites = DurableFile.failpoints + RunFolder.failpoints
        sites += steps.flatMap { [before($0), after($0)] }
        sites += CoordinatorMessage.kinds.flatMap { coordinatorSends($0) }
        sites += WorkerMessage.kinds.map { coordinatorReceives($0) }
        return sites
    }()

    static let worker: [FailpointSite] = {
        let steps = ["sample", "differentiate", "apply", "load", "load-moments", "canary"]
        var sites = steps.flatMap { [before("worker-" + $0), after("worker-" + $0)] }
        sites.append(pathFinished)
        sites += WorkerMessage.kinds.flatMap { workerSends($0) }
        sites += CoordinatorMessage.kinds.map { workerReceives($0) }
        return sites
    }()

    static func before(_ step: String) -> FailpointSite { FailpointSite(step + "-before") }
    static func after(_ step: String) -> FailpointSite { FailpointSite(step + "-after") }
    /// Before and after.
    static func coordinatorSends(_ kind: String) -> [FailpointSite] {
        ["-before", "-after"].map { FailpointSite("coordinator-send-" + kind + $0, canThrow: false) }
    }
    static func workerSends(_ kind: String) -> [FailpointSite] {
        ["-before", "-after"].map { FailpointSite("worker-send-" + kind + $0, canThrow: false) }
    }
    static func coordinatorReceives(_ kind: String) -> FailpointSite {
        FailpointSite("coordinator-receive-" + kind, canThrow: false)
    }
    static func workerReceives(_ kind: String) -> FailpointSite {
        FailpointSite("worker-receive-" + kind, canThrow: false)
    }
    static let pathFinished = FailpointSite("worker-path-finished", canThrow: false)
}

/// A step between its two failpoints.
func hit<Value>(_ step: String, _ body: () async throws -> Value) async throws -> Value {
    try Failpoint.pass(Failpoints.before(step))
    let value = try await body()
    try Failpoint.pass(Failpoints.after(step))
    return value
}

/// The same for a step that does not wait.
func hitNow<Value>(_ step: String, _ body: () throws -> Value) throws -> Value {
    try Failpoint.pass(Failpoints.before(step))
    let value = try body()
    try Failpoint.pass(Failpoints.after(step))
    return value
}
