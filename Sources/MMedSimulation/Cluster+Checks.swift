import MMedCoordinator
import MMedCore
import MMedProtocol
import MMedScheduling

// What of spot checks can be seen from outside.
extension Cluster {
    private var hasChecks: Bool { plan.settings.spotCheck > 0 }

    /// The time for which the newest process was awake goes on.
    func keepTime(_ place: Int) {
        if processes[place].id == ledger.newest { ledger.awake = now - processes[place].slept }
    }

    // MARK: Leases

    /// True for a live lease of something that is here already, whoever gets it.
    func isCheck(_ lease: LeaseID, _ place: Int) -> Bool {
        let core = processes[place].desk.core
        return seats.contains { core.isCheck(lease, of: $0.name) }
    }

    func isCheck(_ message: CoordinatorMessage, _ place: Int) -> Bool {
        guard hasChecks else { return false }
        return switch message {
        case .rollout(let lease): isCheck(lease.lease, place) || isOver(lease.lease, place)
        case .gradient(let lease): isCheck(lease.lease, place) || isOver(lease.lease, place)
        default: false
        }
    }

    /// Where paths may be taken back, a lease that ended before it left tells nothing of who holds what.
    private func isOver(_ lease: LeaseID, _ place: Int) -> Bool {
        let core = processes[place].desk.core
        return !seats.contains { core.isLive(lease, of: $0.name) }
    }

    func observe(_ lease: RolloutLease, to name: Name, _ place: Int) {
        let id = processes[place].id
        keepTime(place)
        guard id == ledger.newest, hasChecks else { return ledger.granted(lease, to: name, process: id) }
        if isCheck(lease.lease, place) {
            ledger.checks(lease, by: name)
            ledger.granted(lease.lease, to: name, process: id)
        } else if isOver(lease.lease, place) {
            ledger.granted(lease.lease, to: name, process: id)
            ledger.grantedInVain(lease)
        } else {
            ledger.granted(lease, to: name, process: id)
        }
    }

    func observe(_ lease: GradientLease, to name: Name, _ place: Int) {
        let id = processes[place].id
        keepTime(place)
        guard id == ledger.newest, hasChecks else { return ledger.granted(lease, to: name, process: id) }
        if isCheck(lease.lease, place) {
            ledger.granted(lease.lease, to: name, process: id)
            ledger.checks(lease, by: name)
        } else if isOver(lease.lease, place) {
            ledger.granted(lease.lease, to: name, process: id)
        } else {
            ledger.granted(lease, to: name, process: id)
        }
    }

    // MARK: Liars

    /// Without keys whoever was caught may come again under another name, and lies again in another way.
    func rename(_ seat: Int) {
        seats[seat].aliases += 1
        guard rates.mischiefMilliseconds > 0, seats[seat].cheat != nil,
            let name = Name("\(seats[seat].role == .rollout ? "rollout" : "learner")-\(seat)-\(seats[seat].aliases)")
        else { return }
        trace("\(seats[seat].name) comes again as \(name)")
        formerNames.append(seats[seat].name)
        seats[seat].name = name
        seats[seat].cheat = Cheat(of: name, &chance)
        ledger.liars.insert(name)
    }

    // MARK: Who can judge

    /// An answer to a check is about to be taken in.
    func noteAnswer(_ message: WorkerMessage, of name: Name, _ place: Int) {
        guard hasChecks, processes[place].id == ledger.newest else { return }
        switch message {
        case .trajectories(let lease, let paths) where processes[place].desk.core.isCheck(lease, of: name):
            for path in paths {
                ledger.checks.answered[.path(path.slot), default: []].insert(name)
                if ledger.checks.answers[path.slot] == nil { ledger.checks.answers[path.slot] = path }
            }
        case .gradientChunk(let chunk) where processes[place].desk.core.isCheck(chunk.lease, of: name):
            ledger.checks.answered[.shard(chunk.shard), default: []].insert(name)
        default: break
        }
    }

    /// What a message tells of its sender; a worker that came anew has said nothing yet.
    func noteJudge(_ message: WorkerMessage, of name: Name, _ peer: PeerID, _ place: Int, formerly: UInt64?) {
        guard hasChecks, processes[place].id == ledger.newest else { return }
        let instance = processes[place].desk.core.hello(of: name)?.instance
        if case .hello = message, instance != formerly {
            (ledger.judges.asked[name], ledger.judges.sung[name]) = (nil, nil)
        }
        if processes[place].desk.name(of: peer) == name {
            switch message {
            case .ready(let credits) where credits > 0: ledger.judges.asked[name] = instance
            case .canary(let report) where report.adapter == nil: ledger.judges.sung[name] = instance
            default: break
            }
        }
        watchJudges(place)
    }

    /// Remembers when nobody honest could judge, and when a liar's kind of processor was not known.
    func watchJudges(_ place: Int) {
        guard hasChecks, processes[place].id == ledger.newest else { return }
        keepTime(place)
        let now = ledger.awake
        // Once, since to reach into a desk is to hold it.
        let core = processes[place].desk.core
        // A process that was started again waits for its workers before it lets anything through.
        let waits = restarts > 1 && now < ledger.startedAt + 4_000_000
        for seat in cheats {
            let name = seats[seat].name
            if let instance = core.hello(of: name)?.instance, ledger.judges.sung[name] == instance {
                if ledger.judges.knownSince[name] == nil { ledger.judges.knownSince[name] = now }
            } else {
                ledger.judges.knownSince[name] = nil
                if !waits { ledger.judges.unknownAt[name] = now }
            }
        }
        guard !waits else { return }
        for name in formerNames { ledger.judges.unknownAt[name] = now }
        if !hasJudge(core, .rollout, nil) { ledger.judges.noneForPathsAt = now }
        for adapter in SimulatedPlan.specialties where !hasJudge(core, .learner, adapter) {
            ledger.judges.noneForShardsAt[adapter] = now
        }
    }

    /// The one that was found last is looked at first.
    private func hasJudge(_ core: CoordinatorCore, _ role: WorkerRole, _ adapter: Name?) -> Bool {
        func judges(_ seat: Int) -> Bool {
            let name = seats[seat].name
            guard let asked = ledger.judges.asked[name], ledger.judges.sung[name] == asked else { return false }
            return core.hello(of: name)?.instance == asked
        }
        if let last = witnesses[adapter], judges(last) { return true }
        witnesses[adapter] = seats.indices.first { seat in
            let held = seats[seat].adapters
            let isMeant = adapter.map { held.isEmpty || held.contains($0) } ?? true
            return seats[seat].role == role && !seats[seat].isLiar && isMeant && judges(seat)
        }
        return witnesses[adapter] != nil
    }
}
