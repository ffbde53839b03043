public import MMedCore
public import MMedProtocol

/// A worker that was found to have returned what its engine cannot have computed: nothing of it is taken any more.
public struct QuarantinedWorker: Hashable, Sendable {
    /// The worker that was caught.
    public var worker: Name
    /// The name of its key, which stands for every process of that key; without keys the worker's own name.
    public var party: Name
    /// Its key; nil where connections have none, or where it was gone when it was caught.
    public var key: PublicKey?
    /// What it does.
    public var role: WorkerRole
    /// What it did.
    public var reason: String

    /// A quarantined worker.
    public init(worker: Name, party: Name, key: PublicKey?, role: WorkerRole, reason: String) {
        self.worker = worker
        self.party = party
        self.key = key
        self.role = role
        self.reason = reason
    }

    /// True for the caught worker and for all others of its key.
    public func covers(_ name: Name) -> Bool {
        name == worker || name == party || key != nil && name.text.hasPrefix(party.text + ".")
    }

    /// True when a worker of this name and key may not come in.
    func forbids(_ name: Name, _ identity: Identity?) -> Bool {
        if let key, identity?.key == key { return true }
        return covers(name) || identity.map { covers($0.name) } ?? false
    }
}

/// What is computed a second time.
enum CheckSubject: Hashable, Comparable {
    case path(SlotID)
    case shard(ShardID)

    var role: WorkerRole {
        switch self {
        case .path: .rollout
        case .shard: .learner
        }
    }

    var description: String {
        switch self {
        case .path(let id): "slot \(id)"
        case .shard(let id): "gradient shard \(id.shard) of step \(id.step + 1), update \(id.update + 1)"
        }
    }
}

/// What a worker says that a subject comes to.
enum Finding {
    case path(Trajectory)
    case gradient(Digest)

    /// To the bit: the engine gives one slot of one version one answer on processors of one kind.
    func agrees(with other: Finding) -> Bool {
        switch (self, other) {
        case (.path(let left), .path(let right)):
            left.slot == right.slot && left.completionIds == right.completionIds && left.logprobs == right.logprobs
                && left.stop == right.stop && left.version == right.version
                && left.adapterDigest == right.adapterDigest && left.choiceLogprobs == right.choiceLogprobs
        case (.gradient(let left), .gradient(let right)): left == right
        default: false
        }
    }
}

struct Statement {
    let worker: Name
    let party: Name
    let key: PublicKey?
    /// What the base model's canary scores there: equal on processors of one kind.
    var mark: Double?
    let finding: Finding
    /// It was asked again, and said the same.
    var isRepeated = false
}

struct SpotCheck {
    /// The author's first.
    var statements: [Statement]
    /// Under which somebody computes it now.
    var lease: LeaseID?
    /// Leases of it that brought nothing.
    var failures = 0
    /// Those whose answer was no answer.
    var excluded: [Name] = []
    /// Since when its step waits for nothing but checks.
    var waitsSince: Tick?
    /// The log has named both sides.
    var isNamed = false

    /// Two or more answers differ, and nothing has decided yet.
    var isDisputed: Bool { statements.count > 1 }
}

/// What came of checks. One is counted once, when it is settled.
struct SpotTally {
    /// Somebody else said the same as the author.
    var agreed = 0
    /// Somebody else said something else, whoever was right.
    var differed = 0
    /// Nobody was there who could say anything.
    var letThrough = 0

    var fields: [LogEntry.Field] {
        [
            .init("checks_agreed", .int(agreed)), .init("checks_differed", .int(differed)),
            .init("checks_let_through", .int(letThrough)),
        ]
    }
}

/// Everything that spot checks keep.
struct SpotState {
    var open: [CheckSubject: SpotCheck] = [:]
    /// In the order in which they were caught.
    var quarantined: [QuarantinedWorker] = []
    var passed = 0
    /// What came of the checks of the stage so far, in this process.
    var tally = SpotTally()
    /// Before that, workers of the former coordinator may still be on their way back.
    var settlesAt = Tick(milliseconds: 0)
    /// What the log has said of each role since a worker of it last came or went.
    var said: [WorkerRole: Set<String>] = [:]

    /// Who can check whom has changed: what was true may not be, and what was said then says nothing of now.
    mutating func forgetSaid(of role: WorkerRole) { said[role] = nil }

    /// Nobody could answer or come back while the coordinator was stopped.
    mutating func forgive(_ pause: UInt64) {
        settlesAt = settlesAt + pause
        open = open.mapValues { check in
            var check = check
            check.waitsSince = check.waitsSince.map { $0 + pause }
            return check
        }
    }
}
