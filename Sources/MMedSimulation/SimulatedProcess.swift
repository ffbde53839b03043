import MMedCoordinator
import MMedCore
import MMedProtocol
import MMedScheduling

/// A coordinator process: the production desk and what its operating system knows of it.
final class SimulatedProcess {
    /// The epoch it serves under names it.
    let id: UInt64
    var desk: CoordinatorDesk
    /// Milliseconds that its clock showed when the simulation began: a clock's origin means nothing.
    let origin: UInt64
    /// Records on their way to the disk.
    var inFlight: [JournalRecord]?
    /// Points before and after storage and send steps that are left until it is killed.
    var stepsToLive = Int.max
    /// It is stopped, and hears nothing until then.
    var pausedUntil: UInt64 = 0
    var isDraining = false
    /// Sequence that each connection was heard with.
    var heard: [PeerID: UInt64] = [:]
    var sent: [PeerID: UInt64] = [:]
    /// When the log last had a line.
    var lastLine: UInt64
    /// When a worker was last heard, in the time that this process was awake.
    var heardAt: [Name: UInt64] = [:]
    /// Microseconds of a silence that was long enough to give a worker up, and ended; the line about it may still wait for
    /// the disk.
    var silences: [Name: UInt64] = [:]
    /// Microseconds that it slept.
    var slept: UInt64 = 0
    /// When it was last asked who a connection is: the question comes once in a second.
    var asked: [PeerID: UInt64] = [:]
    var duties = Duties()
    var beats = 0
    // What planted bugs keep.
    var extra: [JournalRecord] = []
    var credited = Set<PeerID>()
    var cached: [JournalRecord] = []
    var drivenAt: UInt64 = 0
    var came: [SlotID: Trajectory] = [:]
    /// The first gradient that came of a shard, and the lease that it came under.
    var firsts: [ShardID: (lease: LeaseID, worker: Name, bytes: [UInt8])] = [:]

    init(id: UInt64, desk: CoordinatorDesk, origin: UInt64, lastLine: UInt64) {
        self.id = id
        self.desk = desk
        self.origin = origin
        self.lastLine = lastLine
    }

    func tick(_ now: UInt64) -> Tick { Tick(milliseconds: origin + now / 1_000) }
}

/// A place for a worker, who may be dead, and its line to the coordinator.
struct Seat {
    /// A liar that was caught takes another one.
    var name: Name
    let role: WorkerRole
    let adapters: [Name]
    let isLiar: Bool
    /// Some of what it says breaks the protocol, or is another message than the one that it should send.
    var liesOnWire: Bool
    /// It returns what its engine did not compute; nil for one that does not.
    var cheat: Cheat?
    /// Names that it has had before.
    var aliases = 0
    var worker: SimulatedWorker?
    /// Counts processes of this place.
    var life: UInt64 = 0
    /// Stopped by a signal until then.
    var stoppedUntil: UInt64 = 0
    /// Nothing gets through in these directions until then.
    var upBlockedUntil: UInt64 = 0, downBlockedUntil: UInt64 = 0
    /// The connection and the process at its other end; nil while there is none.
    var connection: PeerID?
    var process: UInt64 = 0
    /// The earliest arrival that keeps the order of the connection.
    var upFree: UInt64 = 0, downFree: UInt64 = 0
    var sequenceSent: UInt64 = 0
    var sequenceHeard: UInt64?
    /// Said while there was no connection.
    var queued: [WorkerMessage] = []
    var lies: [Fault] = []
}
