public import MMedAlgorithms
public import MMedCore
public import MMedProtocol

/// A path with the coordinator's own verdict on it.
public struct JudgedTrajectory: Hashable, Sendable {
    /// What the worker sent.
    public var trajectory: Trajectory
    /// The recomputed reward.
    public var parts: RewardParts

    /// A path and its verdict.
    public init(trajectory: Trajectory, parts: RewardParts) {
        self.trajectory = trajectory
        self.parts = parts
    }
}

/// What happens to the coordinator.
public enum Event: Sendable {
    /// A worker passed the handshake (or came back with the same process instance); who it is by its key, where there are
    /// keys.
    case joined(Hello, by: Identity? = nil)
    /// A worker's connection is gone, or it said goodbye.
    case left(Name, reason: String)
    /// A worker can hold so many more leases.
    case ready(Name, credits: Int)
    /// A sign of life.
    case beat(Name, Beat)
    /// Finished paths of a lease.
    case trajectories(Name, LeaseID, [JudgedTrajectory])
    /// A whole gradient has arrived, its digest checked, and is held for the sum, unless its lease is a check.
    case gradient(Name, LeaseID, ShardID, ShardStatistics, digest: Digest? = nil)
    /// A worker gives a lease back.
    case leaseFailed(Name, LeaseID, reason: String)
    /// A replica reached a version.
    case replica(Name, AdapterReference)
    /// What the canary scores with a version that a worker has loaded.
    case canary(Name, CanaryReport)
    /// The reference copy has applied an update and it is on disk.
    case updateCommitted(UpdateOrder, UpdateResult)
    /// The summed gradient or the new weights were not finite: nothing changed.
    case updateRefused(UpdateOrder, reason: String)
    /// The merge is done and on disk.
    case merged(AdapterReference)
    /// Time passes.
    case tick
    /// The user wants to stop: finish what is leased, commit, checkpoint.
    case drain
}

/// An update for the reference copy to apply.
public struct UpdateOrder: Hashable, Sendable {
    /// The shards to sum, in order; they name stage, track, step and update.
    public var shards: [ShardID]
    /// What the update starts from.
    public var base: AdapterHead
    /// Learning rate.
    public var learningRate: Double

    /// An update.
    public init(shards: [ShardID], base: AdapterHead, learningRate: Double) {
        self.shards = shards
        self.base = base
        self.learningRate = learningRate
    }
}

/// What an applied update made.
public struct UpdateResult: Hashable, Sendable {
    /// The new head.
    public var head: AdapterHead
    /// The AdamW numbers that every replica applies.
    public var numbers: UpdateNumbers
    /// Digest of the summed gradient.
    public var gradientDigest: Digest
    /// Global norm before clipping.
    public var gradientNorm: Double

    /// A result.
    public init(head: AdapterHead, numbers: UpdateNumbers, gradientDigest: Digest, gradientNorm: Double) {
        self.head = head
        self.numbers = numbers
        self.gradientDigest = gradientDigest
        self.gradientNorm = gradientNorm
    }
}

/// The newest committed state of an adapter.
public struct AdapterHead: Hashable, Sendable {
    /// Version and digest of the weights.
    public var reference: AdapterReference
    /// Digest of the optimizer's moments; nil is all zero.
    public var momentsDigest: Digest?
    /// AdamW updates since the moments were zero.
    public var optimizerSteps: Int

    /// A head.
    public init(reference: AdapterReference, momentsDigest: Digest?, optimizerSteps: Int) {
        self.reference = reference
        self.momentsDigest = momentsDigest
        self.optimizerSteps = optimizerSteps
    }
}

/// What a merge starts from.
public struct MergeOrder: Hashable, Sendable {
    /// One specialty's experts.
    public struct Input: Hashable, Sendable {
        /// The specialty.
        public var specialty: Name
        /// After DSA; nil when the run has none.
        public var supervised: AdapterReference?
        /// After GBA; nil when the run has none.
        public var reinforced: AdapterReference?

        /// One specialty's experts.
        public init(specialty: Name, supervised: AdapterReference?, reinforced: AdapterReference?) {
            self.specialty = specialty
            self.supervised = supervised
            self.reinforced = reinforced
        }
    }
    /// In the order of the plan.
    public var inputs: [Input]

    /// A merge of these experts.
    public init(inputs: [Input]) { self.inputs = inputs }
}

/// How serious a log line is.
public enum LogLevel: String, Hashable, Sendable {
    /// For the curious.
    case debug = "DEBUG"
    /// The story of the run.
    case info = "INFO"
    /// Something was lost or odd, and the run goes on.
    case warn = "WARN"
    /// The run cannot go on.
    case error = "ERROR"
}

/// A value of a log line or of a metrics record.
public enum FieldValue: Hashable, Sendable {
    /// A whole number.
    case int(Int)
    /// A real number.
    case double(Double)
    /// A text.
    case text(String)
}

/// One line of the progress log.
public struct LogEntry: Hashable, Sendable {
    /// How serious.
    public var level: LogLevel
    /// `dsa/pediatrics`, or `run`.
    public var scope: String
    /// Step of the track, counted from 1; nil outside of steps.
    public var step: Int?
    /// What happened, one word with hyphens.
    public var event: String
    /// Details in reading order.
    public var fields: [Field]

    /// A named value.
    public struct Field: Hashable, Sendable {
        /// The key.
        public var key: String
        /// The value.
        public var value: FieldValue

        /// A named value.
        public init(_ key: String, _ value: FieldValue) {
            self.key = key
            self.value = value
        }
    }

    /// A line.
    public init(_ level: LogLevel, scope: String, step: Int? = nil, event: String, fields: [Field] = []) {
        self.level = level
        self.scope = scope
        self.step = step
        self.event = event
        self.fields = fields
    }
}

/// How a run ended.
public enum Outcome: Hashable, Sendable {
    /// Every stage is done.
    case completed
    /// Drained on request; it can be resumed.
    case stopped
    /// No worker of a needed role came in time; it can be resumed.
    case noWorkers(WorkerRole)
    /// Work failed more often than the settings allow; it can be resumed.
    case failed(String)
}

/// What the runtime must do, in this order.
public enum Action: Sendable {
    /// Write a record durably before any later action is performed.
    case record(JournalRecord)
    /// Send to a worker.
    case send(Name, CoordinatorMessage)
    /// Send a committed update to every learner that holds the adapter.
    case broadcast(UpdateAnnouncement)
    /// Write the state durably before any later action.
    case checkpoint(RunState)
    /// Sum the shards, apply AdamW, make it durable, and answer with `updateCommitted` or `updateRefused`.
    case apply(UpdateOrder)
    /// Merge, make it durable, and answer with `merged`.
    case merge(MergeOrder)
    /// Forget a gradient that is not needed any more.
    case forgetGradient(ShardID)
    /// A worker is given up: close its session and tell it to leave.
    case dismiss(Name, reason: String)
    /// A worker is silent: close its session. When its link heals it is asked who it is, and may come back.
    case lose(Name)
    /// A line of the progress log.
    case log(LogEntry)
    /// A record of metrics.jsonl.
    case metric(LogEntry)
    /// The run is over.
    case finish(Outcome)
}
