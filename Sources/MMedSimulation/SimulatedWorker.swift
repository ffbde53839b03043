import MMedCore
import MMedProtocol

/// What a worker waits for.
enum WorkerTimer {
    /// A beat, or a look at an introduction without an answer.
    case look
    /// The engine has finished a piece of its work.
    case engine
}

/// A worker process by docs/PROTOCOL.md, without tasks: what it hears and its timers go in; what it says, and the timers it
/// sets, come out.
final class SimulatedWorker {
    enum Standing { case introducing, joined }

    enum Assignment {
        case rollout(RolloutLease)
        case gradient(GradientLease)
        case update(UpdateAnnouncement)
    }

    /// A version of an adapter that the engine holds, with its moments where they are known.
    struct Replica {
        var reference: AdapterReference
        var content: [UInt8]
        /// Nil when they are not known.
        var moments: [UInt8]?
    }

    struct Outgoing {
        let lease: GradientLease
        let bytes: [UInt8]
        let digest: Digest
    }

    let hello: Hello
    /// A bug that is planted in this worker.
    let mutant: Mutant?
    /// What it says in the place of what it computed; nil for an honest one.
    let cheat: Cheat?
    /// Such lies since they were last counted.
    var lies: [Fault] = []
    var standing = Standing.introducing
    var welcome: Welcome?
    var phase = WorkerPhase.idle
    var held: [LeaseID] = []
    var cancelled = Set<LeaseID>()
    var assignments: [Assignment] = []
    var isBusy = false
    /// Slots of the current lease that are sampled.
    var slotsDone = 0
    var unrecorded: [LeaseID: [SlotID: Trajectory]] = [:]
    var unreceived: [LeaseID: Outgoing] = [:]
    var replicas: [Name: [Replica]] = [:]
    /// The blob that the current assignment waits for, and what has come of it.
    var pulling: Digest?
    var pulled: [UInt8] = []
    var missing = Set<Digest>()
    var blobs: [Digest: [UInt8]] = [:]
    var progress: UInt64 = 0
    var isHung = false
    var isDraining = false
    /// Why it ended.
    var ended: String?
    /// Fails its next lease.
    var failsNext = false
    private var silence = 0
    private var limit = 5
    private var still = 0

    var said: [WorkerMessage] = []
    /// Microseconds from now.
    var timers: [(UInt64, WorkerTimer)] = []
    var chance: Chance
    let leasesHeldMax = 2
    private let chunkBytes = 64

    /// What the base model's canary scores on the only kind of processor that there is.
    private let canary = -40.0

    init(hello: Hello, chance: Chance, cheat: Cheat? = nil, mutant: Mutant? = nil) {
        self.hello = hello
        self.cheat = cheat
        self.mutant = mutant
        self.chance = chance
        said = [.hello(hello)]
        timers = [(1_000_000, .look)]
    }

    // MARK: Hearing

    func hear(_ message: CoordinatorMessage) {
        guard ended == nil else { return }
        switch message {
        case .welcome(let welcome): settle(welcome)
        case .refused(let reason, _): ended = "refused: \(reason)"
        case .introduceYourself: introduce()
        case .rollout(let lease): accept(lease.lease, .rollout(lease))
        case .gradient(let lease): accept(lease.lease, .gradient(lease))
        case .trajectoriesRecorded(let lease, let slots):
            for slot in slots { unrecorded[lease]?[slot] = nil }
            if unrecorded[lease]?.isEmpty == true { unrecorded[lease] = nil }
        case .gradientReceived(let lease, let bytes):
            progress += 1
            if let total = unreceived[lease]?.bytes.count, bytes >= total { unreceived[lease] = nil }
        case .leaseRevoked(let lease, _):
            if held.contains(lease) { cancelled.insert(lease) }
            unrecorded[lease] = nil
            unreceived[lease] = nil
        case .update(let update): assignments.append(.update(update))
        case .blobChunk(let digest, let offset, let total, let bytes): take(digest, offset, total, bytes)
        case .blobMissing(let digest):
            guard digest == pulling else { break }
            pulling = nil
            missing.insert(digest)
            schedule()
        case .drain: isDraining = true
        case .end(let reason): ended = reason
        }
        leaveIfDrained()
        schedule()
    }

    /// Bytes that are no message: what was lost with them is found out by a new introduction.
    func hearDamaged() { introduce() }

    private func introduce() {
        guard standing != .introducing else { return }
        standing = .introducing
        said.append(.hello(hello))
    }

    private func settle(_ welcome: Welcome) {
        guard standing == .introducing else { return }
        self.welcome = welcome
        (silence, limit) = (0, 5)
        said.append(.canary(CanaryReport(adapter: nil, logprob: canary)))
        for lease in unrecorded.keys.sorted() {
            let paths = (unrecorded[lease] ?? [:]).values.sorted { $0.slot < $1.slot }
            if !paths.isEmpty { said.append(.trajectories(lease, paths)) }
        }
        for lease in unreceived.keys.sorted() { if let gradient = unreceived[lease] { send(gradient) } }
        if let pulling { said.append(.blobRequest(pulling, offset: pulled.count)) }
        standing = .joined
        let credits = leasesHeldMax - held.count
        if !isDraining && credits > 0 { said.append(.ready(credits: credits)) }
    }

    private func accept(_ lease: LeaseID, _ assignment: Assignment) {
        guard !held.contains(lease) else { return }
        held.append(lease)
        assignments.append(assignment)
    }

    /// Only the first bytes of a first chunk are kept, so that pulls go on by offset.
    private func take(_ digest: Digest, _ offset: Int, _ total: Int, _ bytes: [UInt8]) {
        guard digest == pulling, offset == pulled.count else { return }
        progress += 1
        still = 0
        pulled += offset == 0 && bytes.count > 40 ? Array(bytes[..<40]) : bytes
        guard pulled.count >= total else {
            said.append(.blobRequest(digest, offset: pulled.count))
            return
        }
        if Hashing.digest(of: pulled) == digest { blobs[digest] = pulled } else { missing.insert(digest) }
        pulling = nil
    }

    func send(_ gradient: Outgoing) {
        for offset in stride(from: 0, to: gradient.bytes.count, by: chunkBytes) {
            let end = min(gradient.bytes.count, offset + chunkBytes)
            said.append(
                .gradientChunk(
                    GradientChunk(
                        lease: gradient.lease.lease, shard: gradient.lease.shard, offset: offset,
                        totalBytes: gradient.bytes.count, digest: gradient.digest,
                        bytes: Array(gradient.bytes[offset..<end]),
                        statistics: SimulatedEngine.statistics(gradient.lease))))
        }
    }

    // MARK: Timers

    func fire(_ timer: WorkerTimer) {
        guard ended == nil else { return }
        switch timer {
        case .look: look()
        case .engine:
            isBusy = false
            work()
        }
        leaveIfDrained()
        schedule()
    }

    private func look() {
        timers.append((UInt64(welcome?.beatMilliseconds ?? 1_000) * 1_000, .look))
        guard standing == .joined else {
            silence += 1
            guard silence >= limit else { return }
            silence = 0
            limit = min(2 * limit, 320)
            said.append(.hello(hello))
            return
        }
        if let pulling {
            still += 1
            if still >= 5 {
                still = 0
                said.append(.blobRequest(pulling, offset: pulled.count))
            }
        }
        said.append(.beat(Beat(phase: phase, progress: progress, leases: held)))
    }

    private func leaveIfDrained() {
        guard isDraining, ended == nil, held.isEmpty, unrecorded.isEmpty, unreceived.isEmpty else { return }
        said.append(.goodbye(reason: "it was asked to stop"))
        ended = "drained"
    }

    /// Begins the next piece of work when the engine is free.
    func schedule() {
        guard !isBusy, !isHung, pulling == nil, !assignments.isEmpty, ended == nil else { return }
        isBusy = true
        timers.append((UInt64(chance.within(1_000...40_000)), .engine))
    }
}
