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
    /// What it does.
    public var role: WorkerRole
    /// The coordinator's address.
    public var address: String
    /// Its name among the workers; nil makes one of role, host and process id.
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

    /// All options.
    public init(
        role: WorkerRole, address: String, name: String?, threads: Int, model: String?, adapters: [Name],
        exitsWithInput: Bool, concurrentPaths: Int
    ) {
        self.role = role
        self.address = address
        self.name = name
        self.threads = threads
        self.model = model
        self.adapters = adapters
        self.exitsWithInput = exitsWithInput
        self.concurrentPaths = concurrentPaths
    }
}

/// A worker process from its options to its end.
public enum WorkerSession {
    /// Loads the model, joins the coordinator and works until it is told to end.
    public static func run(_ options: WorkerOptions) async throws {
        let log = StandardErrorLog()
        let host = try ModelHost(cluster: MMedConfig.ModelConfig(), override: options.model)
        let started = Date()
        let native = try NativeWorkerEngine(
            host: host, threads: options.threads, concurrentPaths: options.concurrentPaths)
        let engine: any WorkerEngine = Failpoint.isArmed ? FailpointEngine(inner: native) : native
        let seconds = String(format: "%.1f", Date().timeIntervalSince(started))
        log.line("model \(host.path) loaded in \(seconds) s, sha256 \(host.digest.short)")
        let processID = ProcessInfo.processInfo.processIdentifier
        let machine = ProcessInfo.processInfo.hostName
        let nameText = options.name ?? "\(options.role.rawValue)-\(machine.lowercased().prefix(32))-\(processID)"
        guard let name = Name(nameText) else {
            throw MMedError(
                .usage, at: "--name", "\"\(nameText)\" is no worker's name",
                mend: "use lower-case letters, digits, dots, hyphens and underscores, at most 64")
        }
        let hello = Hello(
            role: options.role, name: name, instance: UInt64.random(in: 0...UInt64.max), modelDigest: host.digest,
            threads: options.threads, adapters: options.adapters, host: machine, processID: processID)
        let socket = try ZeroMQWorkerEndpoint(connectingTo: options.address)
        let endpoint: any WorkerEndpoint = Failpoint.isArmed ? FailpointWorkerEndpoint(socket) : socket
        let worker = Worker(
            hello: hello, endpoint: endpoint, engine: engine, log: log, digestOf: { ContentDigest.of($0) })
        log.line("connecting to \(options.address) as \(name)")
        let signals = StopSignals { Task { await worker.drain() } }
        defer { signals.cancel() }
        if options.exitsWithInput { watchInput { Task { await worker.stop("the parent process is gone") } } }
        try await worker.run()
        log.line("done")
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
