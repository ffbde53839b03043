public import MMedCore

/// The version of the wire, apart from the product's: another major is refused, another minor is welcome.
public enum WireVersion {
    /// Changes when an old peer would misread a message.
    public static let major: UInt8 = 1
    /// Changes when fields are added.
    public static let minor: UInt8 = 1
}

/// What a worker does.
public enum WorkerRole: String, Hashable, Sendable, CaseIterable {
    /// Samples and scores paths.
    case rollout
    /// Computes gradients and applies updates.
    case learner
}

/// A worker's introduction.
public struct Hello: Hashable, Sendable {
    /// Wire version of the worker.
    public var major: UInt8, minor: UInt8
    /// What it does.
    public var role: WorkerRole
    /// Its name, unique among live workers.
    public var name: Name
    /// Drawn once for each process: a reconnecting process keeps its leases, a new one of the same name does not.
    public var instance: UInt64
    /// SHA-256 of the model file it loaded.
    public var modelDigest: Digest
    /// Compute threads.
    public var threads: Int
    /// Adapters a learner holds; empty means all.
    public var adapters: [Name]
    /// The host's name for the log.
    public var host: String
    /// The process id for the log.
    public var processID: Int32

    /// Everything the coordinator checks.
    public init(
        major: UInt8 = WireVersion.major, minor: UInt8 = WireVersion.minor, role: WorkerRole, name: Name,
        instance: UInt64, modelDigest: Digest, threads: Int, adapters: [Name], host: String, processID: Int32
    ) {
        self.major = major
        self.minor = minor
        self.role = role
        self.name = name
        self.instance = instance
        self.modelDigest = modelDigest
        self.threads = threads
        self.adapters = adapters
        self.host = host
        self.processID = processID
    }
}

/// The coordinator's answer to a worker it takes.
public struct Welcome: Hashable, Sendable {
    /// The run.
    public var run: Name
    /// Seed of every random stream of the run.
    public var seed: UInt64
    /// Milliseconds between beats.
    public var beatMilliseconds: Int
    /// Adapters of the run and their settings; all work refers to them by name.
    public var adapters: [AdapterDescription]
    /// Tokens of the canary prompt, which the worker scores with each adapter that it loads; empty asks for none.
    public var canaryIds: [Int32]

    /// What a worker needs before its first lease.
    public init(
        run: Name, seed: UInt64, beatMilliseconds: Int, adapters: [AdapterDescription], canaryIds: [Int32] = []
    ) {
        self.run = run
        self.seed = seed
        self.beatMilliseconds = beatMilliseconds
        self.adapters = adapters
        self.canaryIds = canaryIds
    }
}

/// An adapter's name and settings.
public struct AdapterDescription: Hashable, Sendable {
    /// The specialty.
    public var name: Name
    /// Rank, scale, targets.
    public var settings: AdapterSettings

    /// A name with its settings.
    public init(name: Name, settings: AdapterSettings) {
        self.name = name
        self.settings = settings
    }
}

/// What a worker is doing, for the log line that says who waits on whom.
public enum WorkerPhase: Int32, Hashable, Sendable {
    /// Nothing to do.
    case idle = 0
    /// Pulling an adapter.
    case loading = 1
    /// Sampling paths.
    case sampling = 2
    /// Computing a gradient.
    case differentiating = 3
    /// Applying an update.
    case updating = 4
    /// Finishing before it leaves.
    case draining = 5
}

/// A sign of life that renews the worker's leases.
public struct Beat: Hashable, Sendable {
    /// What the worker does now.
    public var phase: WorkerPhase
    /// Counts tokens computed since the start: a lease is renewed only while it grows.
    public var progress: UInt64
    /// Leases it works on.
    public var leases: [LeaseID]

    /// A sign of life.
    public init(phase: WorkerPhase, progress: UInt64, leases: [LeaseID]) {
        self.phase = phase
        self.progress = progress
        self.leases = leases
    }
}

/// What the canary prompt scores with a version that a worker has loaded.
public struct CanaryReport: Hashable, Sendable {
    /// The version; nil is the bare base model.
    public var adapter: AdapterReference?
    /// Sum of the natural log-probs of all tokens but the first two, at temperature 1.
    public var logprob: Double

    /// A report.
    public init(adapter: AdapterReference?, logprob: Double) {
        self.adapter = adapter
        self.logprob = logprob
    }
}

/// From a worker to the coordinator.
public enum WorkerMessage: Hashable, Sendable {
    /// First message of a connection.
    case hello(Hello)
    /// The worker can hold so many more leases.
    case ready(credits: Int)
    /// Paths of a lease, as they finish.
    case trajectories(LeaseID, [Trajectory])
    /// A piece of a gradient.
    case gradientChunk(GradientChunk)
    /// The lease ended without its work; slots still open go back.
    case leaseFailed(LeaseID, reason: String)
    /// The replica reached this version.
    case updateApplied(AdapterReference)
    /// The canary's log-prob under what the engine has just loaded: the proof that it computes with it.
    case canary(CanaryReport)
    /// Send me bytes of a blob.
    case blobRequest(Digest, offset: Int)
    /// A sign of life.
    case beat(Beat)
    /// The worker leaves in good order.
    case goodbye(reason: String)
}

/// From the coordinator to a worker.
public enum CoordinatorMessage: Hashable, Sendable {
    /// You are in.
    case welcome(Welcome)
    /// You are not, and why.
    case refused(reason: String, mend: String)
    /// I do not know this connection: say hello.
    case introduceYourself
    /// Paths to sample.
    case rollout(RolloutLease)
    /// A shard to differentiate.
    case gradient(GradientLease)
    /// These paths are recorded; the worker may forget them.
    case trajectoriesRecorded(LeaseID, [SlotID])
    /// So many bytes of a shard's gradient are here.
    case gradientReceived(LeaseID, bytes: Int)
    /// The lease is void: stop working on it.
    case leaseRevoked(LeaseID, reason: String)
    /// A committed update.
    case update(UpdateAnnouncement)
    /// Bytes of a blob.
    case blobChunk(Digest, offset: Int, totalBytes: Int, bytes: [UInt8])
    /// The coordinator does not hold this blob (any more).
    case blobMissing(Digest)
    /// Finish what you hold, then leave.
    case drain
    /// The run is over, or the coordinator stops: leave now.
    case end(reason: String)
}
