public import MMedCore
public import MMedProtocol

/// A worker process's life: it introduces itself, takes leases, computes, and returns results until it is told to end.
/// Results stay here until the coordinator has them, so a cut connection loses nothing.
public actor Worker {
    /// Waits of the runtime itself; tests shorten them.
    struct Timing: Sendable {
        /// Between looks at an introduction that has no answer yet.
        var introduction = Duration.seconds(1)
        /// For the goodbye when the wire is full, and then for the engine to hear that it should stop.
        var farewell = Duration.seconds(1), engineStop = Duration.seconds(5)
        /// Looks and beats that may pass without news before something is said again.
        var patience = 5
        /// For an answer to an introduction; then the worker leaves.
        var answer = Duration.seconds(300)
    }

    /// How the worker stands with the coordinator.
    enum Standing {
        /// Its introduction has no answer yet; nothing that depends on order is sent.
        case introducing
        /// It was welcomed, and sends again what is not acknowledged.
        case resending
        case joined
    }

    enum Assignment: Sendable {
        case rollout(RolloutLease)
        case gradient(GradientLease)
        case update(UpdateAnnouncement)
        /// Score the canary with the bare base model.
        case canary
    }

    enum Ending {
        case ended(String)
        case failed(MMedError)
    }

    /// The lease that the engine computes.
    struct Current {
        let lease: LeaseID
        /// Milliseconds that the engine may go on without progress after the lease was revoked.
        let patience: Int
        var progress: UInt64
        var since: ContinuousClock.Instant
    }

    let endpoint: any WorkerEndpoint
    let engine: any WorkerEngine
    let log: any WorkerLog
    let digestOf: @Sendable ([UInt8]) -> Digest
    let hello: Hello
    /// Where the coordinator should be, for messages.
    let address: String
    let timing: Timing
    let clock = ContinuousClock()
    /// Leases held at once: one computed, one waiting, so that the engine never idles for a round trip.
    let leasesHeldMax = 2

    var welcome: Welcome?
    var standing = Standing.introducing
    /// Why the newest connection was not opened, and what helps; nil once a coordinator has answered.
    var refusedAtTheDoor: (reason: String, mend: String)?
    var phase = WorkerPhase.idle
    var held: [LeaseID] = []
    var current: Current?
    let cancelled = CancelledLeases()
    var puller = BlobPuller()
    var unrecorded: [LeaseID: [SlotID: Trajectory]] = [:]
    var unreceived: [LeaseID: OutgoingGradient] = [:]
    /// What the canary scores with the bare base model.
    var baseCanary: CanaryReport?
    /// Pieces of blobs and gradients that went over the wire: progress that the engine does not count.
    var transfers: UInt64 = 0
    var isDraining = false
    /// It was told here to leave, and not by the coordinator.
    var isAskedToLeave = false
    /// The connection is gone and no coordinator has answered since.
    var isCutOff = false
    private(set) var ending: Ending?
    let queue: AsyncStream<Assignment>
    let assignments: AsyncStream<Assignment>.Continuation
    /// Tickets of messages to send: given, being served, and who waits.
    private var nextTicket = 0, turn = 0
    private var turns: [Int: CheckedContinuation<Void, Never>] = [:]
    private let over = AsyncStream<Never>.makeStream()
    private let workDone = AsyncStream<Never>.makeStream()

    /// A worker that will say `hello` to the coordinator at `address` and leaves when nobody answers for `answerWithin`;
    /// `digestOf` is SHA-256.
    public init(
        hello: Hello, address: String, answerWithin: Duration, endpoint: any WorkerEndpoint, engine: any WorkerEngine,
        log: any WorkerLog, digestOf: @escaping @Sendable ([UInt8]) -> Digest
    ) {
        var timing = Timing()
        timing.answer = answerWithin
        self.init(
            hello: hello, address: address, endpoint: endpoint, engine: engine, log: log, timing: timing,
            digestOf: digestOf)
    }

    init(
        hello: Hello, address: String = "coordinator", endpoint: any WorkerEndpoint, engine: any WorkerEngine,
        log: any WorkerLog, timing: Timing,
        digestOf: @escaping @Sendable ([UInt8]) -> Digest
    ) {
        self.hello = hello
        self.address = address
        self.endpoint = endpoint
        self.engine = engine
        self.log = log
        self.timing = timing
        self.digestOf = digestOf
        (queue, assignments) = AsyncStream.makeStream()
    }

    /// Works until the coordinator ends the run, or a drain is over. Throws `badConfig` when the coordinator refuses the
    /// worker, `tryAgain` when nobody answers or another run has taken its place, `internalError` when the engine hangs.
    public func run() async throws {
        // Not a child of the group below: an engine that hangs must not hold the process.
        let working = Task { await self.work() }
        await say(.hello(hello))
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.listen() }
            group.addTask { await self.beat() }
            group.addTask { for await _ in self.over.stream {} }
            await group.next()
            end(.ended("its task was cancelled"))
            // Closing frees whoever still waits to send.
            await leave()
            group.cancelAll()
        }
        await waitForEngine()
        working.cancel()
        if case .failed(let error) = ending { throw error }
    }

    /// Takes no further lease, finishes what it holds, then leaves.
    public func drain() {
        guard !isAskedToLeave else { return }
        isAskedToLeave = true
        isDraining = true
        if leavesCutOff() { return }
        log.line("finishing \(held.count) leases, then leaving; a second signal leaves at once")
        leaveIfDrained()
    }

    /// Leaves now; leases go back to the coordinator.
    public func stop(_ reason: String) {
        end(.ended(reason))
    }

    // MARK: The end

    var isOver: Bool { ending != nil }

    func end(_ ending: Ending) {
        guard self.ending == nil else { return }
        self.ending = ending
        for lease in held { cancelled.insert(lease) }
        puller.abandon()
        assignments.finish()
        over.continuation.finish()
    }

    /// What it holds is of use only to a coordinator that is there: whoever wants it gone need not wait for one. True when it
    /// leaves.
    func leavesCutOff() -> Bool {
        guard isAskedToLeave, isCutOff else { return false }
        log.line("nobody is there to take what this worker holds: leaving; it is done again after a resume")
        end(.ended("it was asked to stop"))
        return true
    }

    func leaveIfDrained() {
        if isDraining && held.isEmpty && unrecorded.isEmpty && unreceived.isEmpty { end(.ended("drained")) }
    }

    /// Says goodbye if that can be sent in time, and closes the wire.
    private func leave() async {
        let (clock, limit) = (clock, timing.farewell)
        let reason: String
        switch ending {
        case .failed(let error): reason = boundedReason("\(error)")
        case .ended(let text): reason = isDraining ? "it was asked to stop" : boundedReason(text)
        case nil: reason = "it leaves"
        }
        let isKnown = welcome != nil
        await withTaskGroup(of: Void.self) { group in
            group.addTask { if isKnown { await self.say(.goodbye(reason: reason)) } }
            group.addTask { try? await clock.sleep(for: limit) }
            await group.next()
            await endpoint.close()
            group.cancelAll()
        }
    }

    /// The engine looks now and then whether its lease still counts; a hung one does not.
    private func waitForEngine() async {
        let (clock, limit) = (clock, timing.engineStop)
        let isDone = await withTaskGroup(of: Bool.self) { group in
            group.addTask {
                for await _ in self.workDone.stream {}
                return !Task.isCancelled
            }
            group.addTask {
                try? await clock.sleep(for: limit)
                return false
            }
            let first = await group.next() ?? false
            group.cancelAll()
            return first
        }
        if !isDone { log.line("the engine is still busy; leaving without it") }
    }

    // MARK: Saying

    /// Sends a message after all that were said before it. The endpoint alone does not promise that: two tasks of this actor
    /// that call it one after the other race for its queue, and a chunk or a credit that overtakes an introduction, or is
    /// overtaken by it, means something else.
    func say(_ message: WorkerMessage) async {
        let ticket = nextTicket
        nextTicket += 1
        if ticket != turn { await withCheckedContinuation { turns[ticket] = $0 } }
        await endpoint.send(message)
        turn += 1
        turns.removeValue(forKey: turn)?.resume()
    }

    // MARK: Working

    private func work() async {
        for await assignment in queue {
            if isOver { break }
            await perform(assignment)
            phase = .idle
        }
        workDone.continuation.finish()
    }
}
