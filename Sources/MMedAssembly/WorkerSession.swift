import Foundation
import MMedConfig
public import MMedCore
import MMedFormats
public import MMedProtocol
import MMedStore
import MMedTransport
import MMedWorker

/// What `mmed-worker` was asked to be.
public struct WorkerOptions: Sendable {
    /// What it does; nil is what its key is for.
    public var role: WorkerRole?
    /// The coordinator's address.
    public var address: String
    /// The file of its key; nil is none, and then a coordinator on this machine.
    public var key: String?
    /// Its name among the workers; nil is the key's, or one made of role, host and process id.
    public var name: String?
    /// Compute threads.
    public var threads: Int
    /// Model file, folder or pinned name; nil is the pinned default.
    public var model: String?
    /// Adapters a learner holds; empty is all.
    public var adapters: [Name]
    /// End when standard input closes: the sign that the parent is gone.
    public var exitsWithInput: Bool
    /// Paths sampled at once.
    public var concurrentPaths: Int
    /// Seconds to wait for a coordinator's answer.
    public var waitSeconds: Int

    /// All options.
    public init(
        role: WorkerRole?, address: String, key: String? = nil, name: String?, threads: Int, model: String?,
        adapters: [Name], exitsWithInput: Bool, concurrentPaths: Int, waitSeconds: Int
    ) {
        self.role = role
        self.address = address
        self.key = key
        self.name = name
        self.threads = threads
        self.model = model
        self.adapters = adapters
        self.exitsWithInput = exitsWithInput
        self.concurrentPaths = concurrentPaths
        self.waitSeconds = waitSeconds
    }
}

/// A worker process from its options to its end.
public enum WorkerSession {
    /// Loads the model, joins the coordinator and works until it is told to end.
    public static func run(_ options: WorkerOptions) async throws {
        let log = StandardErrorLog()
        // Before the model is loaded: nothing is waited for that the command line rules out.
        let key = try options.key.map { try WorkerKey.read($0) }
        let (role, name) = try standing(options, key)
        _ = try WireAddress(options.address, for: .connecting, hasKeys: key != nil)
        let host = try ModelHost(cluster: MMedConfig.ModelConfig(), override: options.model)
        let started = Date()
        let native = try NativeWorkerEngine(
            host: host, threads: options.threads, concurrentPaths: options.concurrentPaths)
        let engine: any WorkerEngine = Failpoint.isArmed ? FailpointEngine(inner: native) : native
        let seconds = String(format: "%.1f", Date().timeIntervalSince(started))
        log.line("model \(host.path) loaded in \(seconds) s, sha256 \(host.digest.short)")
        let processID = ProcessInfo.processInfo.processIdentifier
        let machine = ProcessInfo.processInfo.hostName
        let hello = Hello(
            role: role, name: name, instance: UInt64.random(in: 0...UInt64.max), modelDigest: host.digest,
            threads: options.threads, adapters: options.adapters, host: machine, processID: processID)
        let socket = try ZeroMQWorkerEndpoint(connectingTo: options.address, key: key)
        let endpoint: any WorkerEndpoint = Failpoint.isArmed ? FailpointWorkerEndpoint(socket) : socket
        let worker = Worker(
            hello: hello, address: options.address, answerWithin: .seconds(options.waitSeconds), endpoint: endpoint,
            engine: engine, log: log, digestOf: { ContentDigest.of($0) })
        log.line("connecting to \(options.address) as \(name)")
        let signals = StopSignals(isHangupWish: true) { Task { await worker.drain() } }
        defer { signals.cancel() }
        if options.exitsWithInput { watchInput { Task { await worker.stop("the parent process is gone") } } }
        try await worker.run()
        log.line("done")
    }

    /// Role and name of the worker: what was asked for, within what its key is for.
    static func standing(_ options: WorkerOptions, _ key: WorkerKey?) throws(MMedError) -> (WorkerRole, Name) {
        guard let role = options.role ?? key?.identity.role else {
            throw MMedError(
                .usage, at: "--role", "without a key a worker must be told what it does",
                mend: "give --role rollout or --role learner")
        }
        let machine = ProcessInfo.processInfo.hostName
        let processID = ProcessInfo.processInfo.processIdentifier
        let made = "\(role.rawValue)-\(machine.lowercased().prefix(32))-\(processID)"
        let text = options.name ?? key?.identity.name.text ?? made
        guard let name = Name(text) else {
            throw MMedError(
                .usage, at: "--name", "\"\(text)\" is no worker's name",
                mend: "use lower-case letters, digits, dots, hyphens and underscores, at most 64")
        }
        // The coordinator would refuse it; here it is told before the model is loaded.
        if let identity = key?.identity, identity.role != role || !identity.permits(name) {
            throw MMedError(
                .badConfig, at: options.key ?? "--key",
                "this key is for \(identity), not for \(role.rawValue) \(name)",
                mend: "leave out --role, and begin --name with \(identity.name) and a dot or leave it out")
        }
        return (role, name)
    }

    /// Calls back when standard input ends; a thread of its own blocks on it.
    private static func watchInput(_ onEnd: @escaping @Sendable () -> Void) {
        let thread = Thread {
            var byte: UInt8 = 0
            while read(0, &byte, 1) > 0 {}
            onEnd()
        }
        thread.start()
    }
}

/// Lines on standard error with the time of day.
struct StandardErrorLog: WorkerLog {
    func line(_ text: String) {
        let time = Date().formatted(.iso8601.time(includingFractionalSeconds: true))
        ProcessSetup.say("\(time) \(text)")
    }
}
