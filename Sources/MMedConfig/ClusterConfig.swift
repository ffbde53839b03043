public import MMedCore

/// What a worker process does; the same words as on the wire.
public enum ClusterRole: String, CaseIterable, Sendable {
    /// Samples and scores paths.
    case rollout
    /// Computes gradients and applies updates.
    case learner
}

/// Which adapters a learner holds.
public enum AdapterSelection: Equatable, Sendable {
    /// Every specialty's.
    case all
    /// These only.
    case named([Name])

    /// True when the adapter is among them.
    public func contains(_ name: Name) -> Bool {
        switch self {
        case .all: true
        case .named(let names): names.contains(name)
        }
    }

    /// As a worker's introduction lists them: empty means all.
    public var names: [Name] {
        switch self {
        case .all: []
        case .named(let names): names
        }
    }
}

/// The model every process of the run must hold.
public struct ModelConfig: Equatable, Sendable {
    /// A GGUF file, a checkpoint folder, or the name of a pinned model. After loading a path is absolute.
    public var path = PinnedModel.smolLM2.name
    /// SHA-256 the model must have; nil takes what is found.
    public var sha256: Digest?

    /// The pinned model.
    public init() {}
}

/// Some equal workers on one host.
public struct WorkerConfig: Equatable, Sendable {
    /// `local` is started by the coordinator itself, a loopback address by hand.
    public var host = "local"
    /// What they do.
    public var role = ClusterRole.rollout
    /// How many processes.
    public var count = 1
    /// Compute threads of each.
    public var threads = 1
    /// Adapters a learner holds.
    public var adapters = AdapterSelection.all

    /// One local rollout worker.
    public init() {}
}

/// Where the processes of a run are.
public struct ClusterConfig: Equatable, Sendable {
    /// Where the coordinator listens: `tcp://HOST:PORT` or `ipc://PATH`.
    public var listen = "tcp://127.0.0.1:0"
    /// The folder that `mmed-coord keygen` made; nil is no keys, and then nothing beyond this machine. After loading it is absolute.
    public var keys: String?
    /// The model.
    public var model = ModelConfig()
    /// The workers.
    public var workers: [WorkerConfig] = []

    /// Loopback, the pinned model, no workers.
    public init() {}
}
