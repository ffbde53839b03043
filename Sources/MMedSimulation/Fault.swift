/// What goes wrong in a simulation. Every one that is done is counted.
public enum Fault: Int, CaseIterable, Sendable {
    case cut, delay, duplicate, reorder, repetition, flip, truncate
    case partition, partitionUp, partitionDown, flap
    case workerKill, workerStop, workerHang, workerLeave, workerLate, leaseFailure
    case lieDigest, lieLength, lieNotFinite, lieReward, lieStaleLease, lieForeignSlot, lieReplay, lieContradiction
    case lieGradientShape, lieGradientDigest, lieGradientNotFinite, lieChunkOrder, lieRole, lieReplica, lieFailure
    case lieBeat, lieCredits, lieBlob, lieModel
    case lieLogprob, lieToken, lieLetter, lieGradient
    case lieStranger
    case coordinatorKill, killBeforeSend, killAfterSend, killBeforeAppend, killAfterAppend, killBeforeSave,
        killAfterSave
    case secondCoordinator, drain, pause, clockOrigin
    case appendFails, groupLost, groupTorn, groupUnheard, tornCheckpoint, saveFails, diskFull, slowDisk,
        stateDamaged
}

extension Fault {
    /// Where it strikes.
    public enum Place: String, CaseIterable, Sendable { case links, workers, lies, coordinators, disk }

    /// Where it strikes.
    public var place: Place {
        switch rawValue {
        case ...Fault.flap.rawValue: .links
        case ...Fault.leaseFailure.rawValue: .workers
        case ...Fault.lieStranger.rawValue: .lies
        case ...Fault.clockOrigin.rawValue: .coordinators
        default: .disk
        }
    }
}

/// How often each fault was done.
public struct FaultCounts: Sendable, Equatable {
    private var counts = [Int](repeating: 0, count: Fault.allCases.count)

    init() {}

    /// Times that this fault was done.
    public subscript(fault: Fault) -> Int { counts[fault.rawValue] }

    /// All together.
    public var total: Int { counts.reduce(0, +) }

    mutating func add(_ fault: Fault) { counts[fault.rawValue] += 1 }

    mutating func add(_ other: FaultCounts) { for place in counts.indices { counts[place] += other.counts[place] } }
}

/// How much goes wrong, in chances of a million unless said otherwise.
struct FaultRates {
    // For each frame.
    var delay = 0, duplicate = 0, reorder = 0, repetition = 0, flip = 0, truncate = 0, cut = 0
    /// For each message of a lying worker.
    var lie = 0
    /// For each lease that a worker begins.
    var leaseFailure = 0, hang = 0
    /// For each point before or after a storage or send step of the coordinator.
    var kill = 0
    /// For each group of records, for each checkpoint, and for the newest state at each start.
    var append = 0, save = 0, stateDamage = 0
    /// Milliseconds between larger mischief on average; 0 is none.
    var mischiefMilliseconds = 0

    static let none = FaultRates()
    static let heavy = FaultRates(
        delay: 130_000, duplicate: 150_000, reorder: 150_000, repetition: 2_000, flip: 1_000, truncate: 400, cut: 1_000,
        lie: 300_000, leaseFailure: 10_000, hang: 1_000, kill: 60, append: 1_000, save: 3_000, stateDamage: 150_000,
        mischiefMilliseconds: 1_200)
}
