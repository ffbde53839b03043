import MMedCodec
import MMedCoordinator
import MMedCore
import MMedProtocol
import MMedScheduling

/// A coordinator and its workers under virtual time: the production desk, core and codec among simulated engines, links and
/// a disk. Everything that happens follows from the seed.
final class Cluster {
    enum Item {
        case tick(process: UInt64)
        case toCoordinator(seat: Int, PeerID, Parcel)
        case toWorker(seat: Int, PeerID, [UInt8])
        case unreachable(process: UInt64, PeerID)
        case written(process: UInt64)
        case applied(process: UInt64, UpdateOrder, AppliedUpdate)
        case refused(process: UInt64, UpdateOrder)
        case merged(process: UInt64, AdapterReference)
        case timer(seat: Int, life: UInt64, WorkerTimer)
        case connect(seat: Int)
        case cut(seat: Int, PeerID)
        case cutAgain(seat: Int)
        case spawn(seat: Int)
        case start
        case mischief
    }

    /// What travels to the coordinator.
    enum Parcel {
        /// A frame; one that left the order of its connection is not held against the sequence.
        case frame([UInt8], isOrdered: Bool)
        /// A message that no codec has checked: what the coordinator's own checks must stop.
        case bare(WorkerMessage)
    }

    let seed: UInt64
    /// The bug that is planted; nil is the production code as it is.
    let mutant: Mutant?
    let claims = Claims()
    let simulated: SimulatedPlan
    let plan: RunPlan
    let disk: SimulatedDisk
    /// Final state of a quiet run; nil when samples may be lost.
    let expected: RunState?
    var rates: FaultRates
    var chance: Chance
    var now: UInt64 = 0
    var queue = EventQueue<Item>()
    var processes: [SimulatedProcess] = []
    /// New connections go to this one.
    var primary: UInt64 = 0
    var seats: [Seat] = []
    let ledger: Ledger
    /// Seats of those who lie so that only a check can find it.
    var cheats: [Int] = []
    /// Somebody who could judge an adapter's gradients, or paths (nil).
    var witnesses: [Name?: Int] = [:]
    /// What liars were called before they were caught.
    var formerNames: [Name] = []
    var faults = FaultCounts()
    var outcome: Outcome?
    var events = 0
    var connections: UInt64 = 0
    var instances: UInt64 = 0
    var transcript: Transcript?
    var slowDiskUntil: UInt64 = 0
    var diskFullUntil: UInt64 = 0
    /// Recent messages that a liar may say again as its own.
    var overheard: [WorkerMessage] = []
    var restarts = 0
    /// Its journal was played again.
    var isReplayed = false
    /// Weights that the last update of each adapter started from.
    var lastBase: [Name: [UInt8]] = [:]
    /// How often a coordinator started that could not write.
    var failedStarts = 0

    init(
        _ simulated: SimulatedPlan, _ plan: RunPlan, seed: UInt64, rates: FaultRates, expected: RunState?,
        crew: (rollouts: Int, learners: Int, liars: Int), mutant: Mutant? = nil, linesKept: Int = 0,
        isReplay: Bool = false
    ) {
        self.mutant = mutant
        self.seed = seed
        self.simulated = simulated
        self.plan = plan
        self.rates = rates
        self.expected = expected
        chance = Chance(seed: seed)
        disk = SimulatedDisk(plan, mutant: mutant)
        ledger = Ledger(plan: plan, isMuted: isReplay)
        if linesKept > 0 { transcript = Transcript(keeping: linesKept) }
        for index in 0..<crew.rollouts {
            addSeat("rollout-\(index)", .rollout, [], isLiar: index < crew.liars)
        }
        for index in 0..<crew.learners {
            // With four or more, the last two hold some adapters alone.
            let names = plan.adapters.map(\.name)
            let isPartial = crew.learners >= 4 && index >= crew.learners - 2
            let held = !isPartial ? [] : index == crew.learners - 1 ? [names[0]] : Array(names.dropFirst())
            addSeat("learner-\(index)", .learner, held, isLiar: index == 0 && crew.liars > 0)
        }
        cheats = seats.indices.filter { seats[$0].cheat != nil }
        ledger.liars = Set(seats.filter(\.isLiar).map(\.name))
        put(.start, in: 0)
        if rates.mischiefMilliseconds > 0 { put(.mischief, in: 100_000) }
    }

    private func addSeat(_ text: String, _ role: WorkerRole, _ adapters: [Name], isLiar: Bool) {
        guard let name = Name(text) else { return }
        // Where nothing is checked, no lie may be told that only a check can find.
        let cheat = isLiar && simulated.spotCheck > 0 ? Cheat(of: name, &chance) : nil
        let liesOnWire = isLiar && (cheat == nil || chance.below(2) == 0)
        seats.append(
            Seat(name: name, role: role, adapters: adapters, isLiar: isLiar, liesOnWire: liesOnWire, cheat: cheat))
        put(.spawn(seat: seats.count - 1), in: UInt64(chance.within(1_000...2_000_000)))
    }

    func put(_ item: Item, in microseconds: UInt64) { queue.put(item, due: now + microseconds) }

    func trace(_ line: @autoclosure () -> String) {
        if transcript != nil { transcript?.add(now, line()) }
    }

    func does(_ fault: Fault, _ detail: @autoclosure () -> String = "") {
        faults.add(fault)
        if transcript != nil { transcript?.add(now, "FAULT \(fault) \(detail())") }
    }

    /// Runs until the plan is complete; faults stop after `faultMicroseconds`, and what is then not complete within
    /// `patience` more is a run that does not end.
    func run(faultMicroseconds: UInt64, patience: UInt64) {
        while outcome == nil, ledger.breach == nil, let (due, item) = queue.take() {
            now = due
            events += 1
            if now >= faultMicroseconds && rates.mischiefMilliseconds > 0 { calm() }
            ledger.expect(
                now < faultMicroseconds + patience, "every run ends",
                "no end \(patience / 1_000_000) s after the last fault")
            handle(item)
        }
        ledger.expect(outcome != nil || ledger.breach != nil, "every run ends", "nothing happens any more")
        if outcome == .completed { ledger.completed(disk.checkpoint, expected: expected) }
    }

    private func handle(_ item: Item) {
        switch item {
        case .tick(let id): beat(id)
        case .toCoordinator(let seat, let peer, let parcel): arrive(parcel, from: seat, peer)
        case .toWorker(let seat, let peer, let frame): arrive(frame, at: seat, peer)
        case .unreachable(let id, let peer):
            if let late = whenAwake(id) { return queue.put(item, due: late) }
            drive(id) { $0.take(.unreachable(peer), at: $1) }
        case .written(let id): written(id, item)
        case .applied(let id, let order, let applied):
            guard place(of: id) != nil else { return }
            if let late = whenAwake(id) { return queue.put(item, due: late) }
            announceEarly(order, applied, by: id)
            drive(id) { $0.finished(order, applied, at: $1) }
        case .refused(let id, let order):
            if let late = whenAwake(id) { return queue.put(item, due: late) }
            drive(id) { $0.refused(order, reason: "the sum is not finite", at: $1) }
        case .merged(let id, let reference):
            if let late = whenAwake(id) { return queue.put(item, due: late) }
            drive(id) { $0.merged(reference, at: $1) }
        case .timer(let seat, let life, let timer): fire(timer, seat: seat, life: life)
        case .connect(let seat): connect(seat)
        case .cut(let seat, let peer): if seats[seat].connection == peer { cut(seat) }
        case .cutAgain(let seat): if rates.mischiefMilliseconds > 0 { cut(seat) }
        case .spawn(let seat): spawn(seat)
        case .start: start()
        case .mischief: mischief()
        }
    }

    /// When a stopped process goes on; nil when it is awake or gone.
    func whenAwake(_ id: UInt64) -> UInt64? {
        guard let place = place(of: id), processes[place].pausedUntil > now else { return nil }
        return processes[place].pausedUntil
    }

    /// Where a process stands in the list; nil when it is gone. To find it so copies no desk.
    func place(of id: UInt64) -> Int? {
        for place in processes.indices where processes[place].id == id { return place }
        return nil
    }

    /// Lets the desk of a process take something in, and performs what it says.
    func drive(_ id: UInt64, _ body: (inout CoordinatorDesk, Tick) -> [DeskEffect]) {
        oversleep(id)
        guard let place = place(of: id) else { return }
        let tick = processes[place].tick(now)
        let effects = twisted(body(&processes[place].desk, tick), by: id)
        watchJudges(place)
        perform(effects, by: id)
    }

    private func beat(_ id: UInt64) {
        guard let place = place(of: id) else { return }
        if let late = whenAwake(id) { return queue.put(.tick(process: id), due: late) }
        disk.settle()
        synchronise(id)
        drive(id) { $0.tick(at: $1) }
        put(.tick(process: id), in: 100_000)
        guard place < processes.count, processes[place].id == id else { return }
        processes[place].beats += 1
        if processes[place].beats % 10 == 0 { collectDuties(place) }
        let held = processes[place].desk.held
        let shards = plan.settings.gradientShards * plan.adapters.count * (plan.settings.maxLag + 1)
        ledger.expect(
            held.gradientBytes <= 2 * shards * SimulatedEngine.gradientBytes, "bounds",
            "\(held.gradientBytes) bytes of gradients are held")
        ledger.expect(held.strangers <= connectionsMax, "bounds", "\(held.strangers) strangers are held")
        ledger.expect(
            held.summedGradients <= 2 * plan.adapters.count, "bounds",
            "\(held.summedGradients) summed gradients are held")
        let still = now - processes[place].lastLine
        ledger.expect(
            still < 3_000 * plan.settings.stallMilliseconds, "the log says who waits",
            "no line of the log for \(still / 1_000_000) s")
    }

    /// Strangers of the last second at most: each worker may have come on several connections.
    private var connectionsMax: Int { 8 * seats.count }

    /// Faults stop, and everything heals.
    private func calm() {
        rates = .none
        disk.isFull = false
        slowDiskUntil = 0
        for seat in seats.indices {
            (seats[seat].upBlockedUntil, seats[seat].downBlockedUntil) = (now, now)
            seats[seat].worker?.isHung = false
            seats[seat].worker?.schedule()
            settle(seat)
        }
        trace("CALM: no more faults")
        // One that was replaced and has nothing to write would serve its workers for ever; a folder's lock lets no second
        // coordinator begin while the first lives, so two at a time are a fault like the others.
        for id in processes.map(\.id) where id != ledger.newest { end(id, "its place is taken") }
    }
}

/// The last lines of a run, for whoever looks for its mistake.
struct Transcript {
    private var lines: [String] = []
    private var next = 0
    private let kept: Int

    init(keeping kept: Int) { self.kept = kept }

    mutating func add(_ now: UInt64, _ text: String) {
        let line = "\(now / 1_000_000).\(String(1_000_000 + now % 1_000_000).dropFirst()) \(text)"
        if lines.count < kept { lines.append(line) } else { lines[next % kept] = line }
        next += 1
    }

    var last: [String] { lines.count < kept ? lines : Array(lines[(next % kept)...] + lines[..<(next % kept)]) }
}
