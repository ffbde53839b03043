public import MMedConfig
import MMedCore

/// What `mmed-coord start` was asked for.
public struct RunOptions: Sendable {
    /// The run's configuration file.
    public var configPath: String
    /// `path.to.key=value` over the file.
    public var overrides: [String]
    /// The same for this process of a resumed run alone: keys that choose how it works and not what comes out.
    public var operationalOverrides: [String]
    /// The cluster file; nil is `cluster/local.yaml` beside the configuration's folder, else one rollout worker and one learner here.
    public var clusterPath: String?
    /// A folder of keys instead of the cluster file's.
    public var keys: String?
    /// A model instead of the cluster file's.
    public var model: String?
    /// The run's folder; nil makes one below `runs/`.
    public var runFolder: String?

    /// All options.
    public init(
        configPath: String, overrides: [String], operationalOverrides: [String] = [], clusterPath: String?,
        keys: String? = nil, model: String?, runFolder: String?
    ) {
        self.configPath = configPath
        self.overrides = overrides
        self.operationalOverrides = operationalOverrides
        self.clusterPath = clusterPath
        self.keys = keys
        self.model = model
        self.runFolder = runFolder
    }
}

/// Two workers on this machine: what a run uses when no cluster file is named and none is found.
public func defaultCluster() -> ClusterConfig {
    var cluster = ClusterConfig()
    var rollout = WorkerConfig()
    rollout.role = .rollout
    rollout.threads = 2
    var learner = rollout
    learner.role = .learner
    cluster.workers = [rollout, learner]
    return cluster
}
