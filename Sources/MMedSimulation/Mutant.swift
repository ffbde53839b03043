import MMedScheduling

/// A protocol bug that the simulation plants around the production code, in a port, a link, a disk or what stands between
/// them and the desk. Nothing of it is in the programs that train. One is planted at a time; every one must be caught.
public enum Mutant: String, CaseIterable, Sendable {
    // Journal and checkpoints.
    case acknowledgesBeforeCommit = "acknowledges-before-commit"
    case recordsTwice = "records-twice"
    case journalForgets = "journal-forgets"
    case journalRepeats = "journal-repeats"
    case journalReorders = "journal-reorders"
    case acceptsTornTail = "accepts-torn-tail"
    case acceptsTornCheckpoint = "accepts-torn-checkpoint"
    case readsOldCheckpoint = "reads-old-checkpoint"
    case namesBlobsTooEarly = "names-blobs-too-early"
    case collectsLiveBlobs = "collects-live-blobs"
    case forgetsOpenBase = "forgets-open-base"
    case forgetsOpenUpdates = "forgets-open-updates"
    case trustsWriteCache = "trusts-write-cache"
    case ignoresFailedSync = "ignores-failed-sync"
    case ignoresFullDisk = "ignores-full-disk"
    case commitsStepEarly = "commits-step-early"
    case closesGroupEarly = "closes-group-early"
    case countsPathTwice = "counts-path-twice"

    // Restarts.
    case keepsEpoch = "keeps-epoch"
    case letsOldEpochWrite = "lets-old-epoch-write"
    case resumesWithoutPaths = "resumes-without-paths"
    case resumesWithoutGroups = "resumes-without-groups"
    case resumesWithoutDrops = "resumes-without-drops"
    case resumesWithoutUpdates = "resumes-without-updates"
    case resumesWithoutMerge = "resumes-without-merge"

    // Leases and sessions.
    case ignoresFence = "ignores-fence"
    case grantsTwice = "grants-twice"
    case leasesNeverEnd = "leases-never-end"
    case keepsSilentWorkers = "keeps-silent-workers"
    case grantsBeyondCredits = "grants-beyond-credits"
    case losesCredits = "loses-credits"
    case losesRevocations = "loses-revocations"
    case losesAnswers = "loses-answers"
    case retriesForEver = "retries-for-ever"
    case givesUpAtOnce = "gives-up-at-once"
    case punishesPauses = "punishes-pauses"
    case hearsRepetitions = "hears-repetitions"
    case welcomesOtherModels = "welcomes-other-models"
    case ignoresRoles = "ignores-roles"
    case neverAsksStrangers = "never-asks-strangers"
    case asksStrangersAlways = "asks-strangers-always"
    case servesWrongOffset = "serves-wrong-offset"

    // Updates.
    case sumsInArrivalOrder = "sums-in-arrival-order"
    case sumsShardTwice = "sums-shard-twice"
    case leavesShardOut = "leaves-shard-out"
    case updatesWrongBase = "updates-wrong-base"
    case forgetsMoments = "forgets-moments"
    case announcesEarly = "announces-early"
    case ignoresGradientDigest = "ignores-gradient-digest"
    case takesInfiniteGradient = "takes-infinite-gradient"
    case acknowledgesStaleGradient = "acknowledges-stale-gradient"
    case ignoresLag = "ignores-lag"
    case mergesOldExperts = "merges-old-experts"

    // What workers say.
    case believesReward = "believes-reward"
    case letsNaNRewardThrough = "lets-nan-reward-through"
    case takesUnreadablePath = "takes-unreadable-path"
    case ignoresPathVersion = "ignores-path-version"
    case forgivesContradiction = "forgives-contradiction"
    case samplesWithWrongSeed = "samples-with-wrong-seed"
    case differentiatesOldReplica = "differentiates-old-replica"
    case updatesAnyReplica = "updates-any-replica"

    // Ages, where timing chooses versions.
    case admitsStale = "admits-stale"
    case batchesStale = "batches-stale"
    case forgetsStalenessOnResume = "forgets-staleness-on-resume"
    case resumesPathsAsNew = "resumes-paths-as-new"

    // Spot checks.
    case checksNothing = "checks-nothing"
    case checksByTheSameWorker = "checks-by-the-same-worker"
    case checksTheNewestVersion = "checks-the-newest-version"
    case ignoresCheckVerdict = "ignores-check-verdict"
    case countsACheckerTwice = "counts-a-checker-twice"
    case quarantineForgottenOnResume = "quarantine-forgotten-on-resume"
    case keepsQuarantinedWork = "keeps-quarantined-work"
    case sumsQuarantinedGradients = "sums-quarantined-gradients"
}

extension Mutant {
    /// What it plants, in a line.
    public var plants: String {
        switch self {
        case .acknowledgesBeforeCommit: "a path is acknowledged when its record is handed to the journal"
        case .recordsTwice: "no dedup: a path that comes again is recorded again"
        case .journalForgets: "the journal leaves out one record of a group and says that all are written"
        case .journalRepeats: "the journal writes a group twice"
        case .journalReorders: "the journal writes the last record of a group first"
        case .acceptsTornTail: "a start takes the records of a group whose write was cut off"
        case .acceptsTornCheckpoint: "a start takes a checkpoint that no manifest names"
        case .readsOldCheckpoint: "a start reads the checkpoint before the last"
        case .namesBlobsTooEarly: "a checkpoint names blobs that are not synchronised"
        case .collectsLiveBlobs: "the cleaning at a start removes blobs that the checkpoint names"
        case .forgetsOpenUpdates: "the first checkpoint after a start removes what updates beyond it made"
        case .forgetsOpenBase: "the base of a step's next update is removed when other adapters have moved on"
        case .trustsWriteCache: "a group is taken as written while it is in the disk's cache"
        case .ignoresFailedSync: "a synchronisation that failed counts as done"
        case .ignoresFullDisk: "a group that a full disk refused counts as written"
        case .commitsStepEarly: "a checkpoint counts one step more than is committed"
        case .closesGroupEarly: "groups close without their last member"
        case .countsPathTwice: "an evaluation counts its first path twice"
        case .keepsEpoch: "a start does not raise the epoch"
        case .letsOldEpochWrite: "a coordinator that was replaced may still write"
        case .resumesWithoutPaths: "a start skips the journal's open paths"
        case .resumesWithoutGroups: "a start forgets which groups closed"
        case .resumesWithoutDrops: "a start forgets which slots were given up"
        case .resumesWithoutUpdates: "a start forgets which updates were applied"
        case .resumesWithoutMerge: "a start forgets the merge"
        case .ignoresFence: "a path under an older lease is taken as if its holder had sent it"
        case .grantsTwice: "slots are leased to a second worker while the first holds them"
        case .leasesNeverEnd: "a lease without progress does not expire"
        case .keepsSilentWorkers: "a silent worker is never given up"
        case .grantsBeyondCredits: "each ready counts as one lease more"
        case .losesCredits: "the credit of a finished lease is lost"
        case .losesRevocations: "no worker is told that its lease is void"
        case .losesAnswers: "no worker is told that its paths are recorded"
        case .retriesForEver: "a slot that fails is leased again without end"
        case .givesUpAtOnce: "a slot is given up at its first failure"
        case .punishesPauses: "what a stopped coordinator could not hear is held against its workers"
        case .hearsRepetitions: "a frame with a sequence number that was heard is taken again"
        case .welcomesOtherModels: "the model's digest in a hello is not compared"
        case .ignoresRoles: "a gradient from a rollout worker is taken for its holder's"
        case .neverAsksStrangers: "a connection without a name is not asked who it is"
        case .asksStrangersAlways: "a stranger is asked at each of its messages"
        case .servesWrongOffset: "a blob is served from its beginning whatever the offset"
        case .sumsInArrivalOrder: "shards are summed in the order in which they came"
        case .sumsShardTwice: "the first shard of an update is summed twice"
        case .leavesShardOut: "an update is applied without its last shard"
        case .updatesWrongBase: "an update is applied to the version before its base"
        case .forgetsMoments: "an update is applied with fresh moments"
        case .announcesEarly: "an update is announced before its record is written"
        case .ignoresGradientDigest: "a gradient's digest is not compared"
        case .takesInfiniteGradient: "a gradient that is not finite is taken"
        case .acknowledgesStaleGradient: "a gradient that nobody waits for is acknowledged as taken"
        case .ignoresLag: "sampling runs one step further ahead than the plan says"
        case .mergesOldExperts: "the merge takes the experts from before reinforcement"
        case .believesReward: "a worker's own reward is believed"
        case .letsNaNRewardThrough: "the judge says NaN for some paths"
        case .takesUnreadablePath: "tokens outside the vocabulary are judged as if they were text"
        case .ignoresPathVersion: "a path by another version is taken as by the one asked for"
        case .forgivesContradiction: "a worker that gave two paths for a slot stays"
        case .samplesWithWrongSeed: "a worker samples with another seed"
        case .differentiatesOldReplica: "a learner differentiates at the oldest version that it holds"
        case .updatesAnyReplica: "a learner applies an update to whatever version it holds"
        case .admitsStale: "a path that is too old when it comes is recorded all the same"
        case .batchesStale: "the bound of age is not held: groups close over paths however old"
        case .forgetsStalenessOnResume: "a start forgets which paths were too old"
        case .resumesPathsAsNew: "a start takes the journal's paths as sampled by the newest version"
        case .checksNothing: "nothing is drawn for a check"
        case .checksByTheSameWorker: "a path's check is asked of the worker that brought it"
        case .checksTheNewestVersion: "a path's check asks for the newest version in the place of the path's own"
        case .ignoresCheckVerdict: "whatever a checker says of a path counts as agreement"
        case .countsACheckerTwice: "a third worker's answer counts as one more of the second's"
        case .quarantineForgottenOnResume: "a start forgets who was caught"
        case .keepsQuarantinedWork: "a start takes the void paths of who was caught, as if another had brought them"
        case .sumsQuarantinedGradients:
            "a gradient of who was caught is summed in the place of the one that replaced it"
        }
    }

    /// What goes wrong while it is looked for: more of what it needs to show itself.
    var rates: FaultRates {
        var rates = FaultRates.heavy
        // A run that goes back would hide some; one is only seen there.
        if self != .forgetsOpenUpdates { rates.stateDamage = 0 }
        switch self {
        case .retriesForEver, .givesUpAtOnce, .resumesWithoutDrops: rates.leaseFailure = 300_000
        case .ignoresFailedSync: rates.append = 20_000
        case .acceptsTornCheckpoint, .readsOldCheckpoint: rates.save = 60_000
        case .acceptsTornTail, .trustsWriteCache, .resumesWithoutPaths, .resumesWithoutGroups, .resumesWithoutUpdates,
            .forgetsStalenessOnResume, .resumesPathsAsNew, .quarantineForgottenOnResume,
            .keepsQuarantinedWork:
            rates.kill = 400
        // A run has one merge, and the death must come between its record and the checkpoint.
        case .resumesWithoutMerge: rates.save = 200_000
        // Paths of later steps that come late, while the steps before them close.
        case .admitsStale: (rates.reorder, rates.delay) = (600_000, 500_000)
        default: break
        }
        return rates
    }

    /// True where the bug can show itself; elsewhere it is not looked for.
    func concerns(_ course: Course) -> Bool {
        switch self {
        // Two versions are made soonest while a lease of a later step is out.
        case .admitsStale: course.mode == .freeRunning && course.lag == 3 && course.staleness == 1
        case .batchesStale, .forgetsStalenessOnResume, .resumesPathsAsNew: course.mode == .freeRunning
        case .checksTheNewestVersion: course.mode == .freeRunning && course.spotCheck > 0
        case .checksNothing, .checksByTheSameWorker, .ignoresCheckVerdict, .countsACheckerTwice,
            .quarantineForgottenOnResume, .keepsQuarantinedWork, .sumsQuarantinedGradients:
            course.spotCheck > 0
        default: course.spotCheck == 0
        }
    }
}
