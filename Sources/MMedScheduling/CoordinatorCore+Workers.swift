import MMedCore
import MMedProtocol

// Who is there, what they hold, and when they are given up.
extension CoordinatorCore {
    mutating func join(_ hello: Hello, at now: Tick) {
        if let known = workers[hello.name], known.hello.instance == hello.instance {
            // The same process on a new connection: it keeps its leases and says its credits again.
            workers[hello.name]?.credits = 0
            workers[hello.name]?.lastHeard = now
            log(.info, "run", "worker-reconnected", [.init("worker", .text(hello.name.text))])
            return
        }
        if workers[hello.name] != nil { leave(hello.name, reason: "replaced by a new process of the same name") }
        workers[hello.name] = WorkerState(hello: hello, lastHeard: now)
        missingSince[hello.role] = nil
        moved(at: now)
        log(
            .info, "run", "worker-joined",
            [
                .init("worker", .text(hello.name.text)), .init("role", .text(hello.role.rawValue)),
                .init("threads", .int(hello.threads)), .init("host", .text(hello.host)),
                .init("pid", .int(Int(hello.processID))),
            ])
    }

    mutating func leave(_ name: Name, reason: String) {
        guard let worker = workers.removeValue(forKey: name) else { return }
        log(
            .warn, "run", "worker-left",
            [
                .init("worker", .text(name.text)), .init("leases", .int(worker.leases.count)),
                .init("reason", .text(reason)),
            ])
        for lease in worker.leases { release(lease, countsAsFailure: false, reason: reason) }
    }

    mutating func addCredits(_ name: Name, _ credits: Int, at now: Tick) {
        guard var worker = workers[name] else { return }
        worker.credits = min(worker.credits + max(0, credits), 64)
        worker.lastHeard = now
        workers[name] = worker
    }

    mutating func hear(_ name: Name, _ beat: Beat, at now: Tick) {
        guard var worker = workers[name] else { return }
        worker.lastHeard = now
        worker.phase = beat.phase
        // A beat renews leases only while the worker computes: a hung engine loses them, a slow one does not.
        if beat.progress > worker.progress {
            worker.progress = beat.progress
            moved(at: now)
            for lease in beat.leases where leases[lease]?.worker == name {
                leases[lease]?.deadline = now + plan.settings.leaseMilliseconds
            }
        }
        workers[name] = worker
    }

    mutating func expireLeases(at now: Tick) {
        let silence = plan.settings.beatMilliseconds * plan.settings.silentBeats
        for name in workers.keys.sorted() {
            guard let worker = workers[name], now.since(worker.lastHeard) >= silence else { continue }
            let reason = "no sign of life for \(silence / 1_000) s"
            leave(name, reason: reason)
            actions.append(.dismiss(name, reason: reason))
        }
        for lease in leases.keys.sorted() {
            guard let held = leases[lease], held.deadline <= now else { continue }
            log(
                .warn, "run", "lease-expired",
                [
                    .init("worker", .text(held.worker.text)),
                    .init("held_s", .double(Double(now.since(held.grantedAt)) / 1_000)),
                ])
            actions.append(.send(held.worker, .leaseRevoked(lease, reason: "it expired without progress")))
            release(lease, countsAsFailure: true, reason: "the lease expired")
        }
    }

    mutating func giveBack(_ lease: LeaseID, from name: Name, reason: String, at now: Tick) {
        guard let held = leases[lease], held.worker == name else { return }
        workers[name]?.lastHeard = now
        log(
            .warn, "run", "lease-failed", [.init("worker", .text(name.text)), .init("reason", .text(reason))])
        release(lease, countsAsFailure: true, reason: reason)
    }

    /// Ends a lease; what it did not finish is open again, or failed when it has failed too often.
    mutating func release(_ lease: LeaseID, countsAsFailure: Bool, reason: String) {
        guard let held = leases.removeValue(forKey: lease) else { return }
        workers[held.worker]?.leases.removeAll { $0 == lease }
        switch held.work {
        case .slots(let ids):
            for id in ids { reopen(id, leasedBy: lease, countsAsFailure: countsAsFailure, reason: reason) }
        case .shard(let id):
            reopen(id, leasedBy: lease, countsAsFailure: countsAsFailure, reason: reason)
        }
    }

    private mutating func reopen(_ id: SlotID, leasedBy lease: LeaseID, countsAsFailure: Bool, reason: String) {
        guard let place = place(of: id) else { return }
        var slot = tracks[place.track].steps[place.step].slots[place.question][place.slot]
        guard case .leased(let holder) = slot.status, holder == lease else { return }
        if countsAsFailure { slot.failures += 1 }
        // The retry has the same seed, so that a retry cannot select outcomes.
        slot.status = slot.failures > plan.settings.retries ? .failed(reason) : .open
        tracks[place.track].steps[place.step].slots[place.question][place.slot] = slot
        if case .failed = slot.status {
            log(
                .warn, scope(tracks[place.track]), step: Int(id.step), "slot-failed",
                [.init("slot", .text(id.description)), .init("reason", .text(reason))])
            closeIfSampled(track: place.track, step: place.step)
        }
    }

    private mutating func reopen(_ id: ShardID, leasedBy lease: LeaseID, countsAsFailure: Bool, reason: String) {
        guard let place = place(of: id) else { return }
        var shard = tracks[place.track].steps[place.step].shards[place.shard]
        guard case .leased(let holder) = shard.status, holder == lease else { return }
        if countsAsFailure { shard.failures += 1 }
        shard.status = .open
        tracks[place.track].steps[place.step].shards[place.shard] = shard
        if shard.failures > plan.settings.retries {
            let what = "\(scope(tracks[place.track])) step \(id.step): a gradient shard failed \(shard.failures) times"
            log(
                .error, scope(tracks[place.track]), step: Int(id.step), "shard-failed", [.init("reason", .text(reason))]
            )
            finish(.failed("\(what), last: \(reason)"))
        }
    }

    /// Says who waits on whom when nothing moves, and ends a run that has nobody left to work for it.
    mutating func watch(at now: Tick) {
        let needed = neededRoles()
        for role in WorkerRole.allCases {
            let isMissing = needed.contains(role) && !workers.values.contains { $0.hello.role == role }
            if !isMissing {
                missingSince[role] = nil
            } else if let since = missingSince[role] {
                if now.since(since) >= plan.settings.noWorkersMilliseconds {
                    log(.error, "run", "no-workers", [.init("role", .text(role.rawValue))])
                    finish(.noWorkers(role))
                    return
                }
            } else {
                missingSince[role] = now
            }
        }
        guard now.since(lastMovement) >= plan.settings.stallMilliseconds,
            now.since(lastStallLine) >= plan.settings.stallMilliseconds
        else { return }
        lastStallLine = now
        logStall(needed, at: now)
    }

    private mutating func logStall(_ needed: [WorkerRole], at now: Tick) {
        let still = Double(now.since(lastMovement)) / 1_000
        for role in needed {
            guard let since = missingSince[role] else { continue }
            let left = plan.settings.noWorkersMilliseconds - min(plan.settings.noWorkersMilliseconds, now.since(since))
            log(
                .warn, "run", "waiting",
                [
                    .init("for", .text("a \(role.rawValue) worker")), .init("still_s", .double(still)),
                    .init("ends_in_s", .int(Int(left / 1_000))),
                ])
        }
        for lease in leases.keys.sorted() {
            guard let held = leases[lease], let worker = workers[held.worker] else { continue }
            let what: String
            switch held.work {
            case .slots(let ids): what = "\(ids.count) paths"
            case .shard(let id): what = "gradient shard \(id.shard)"
            }
            log(
                .warn, "run", "waiting",
                [
                    .init("for", .text("\(held.worker) with \(what)")), .init("phase", .text("\(worker.phase)")),
                    .init("silent_s", .double(Double(now.since(worker.lastHeard)) / 1_000)),
                    .init("lease_ends_in_s", .int(Int(held.deadline.since(now) / 1_000))),
                ])
        }
        if mergeIsUnderWay { log(.info, "run", "waiting", [.init("for", .text("the merge"))]) }
    }

    private func neededRoles() -> [WorkerRole] {
        guard state.stage < plan.stages.count else { return [] }
        var roles: [WorkerRole] = []
        if tracks.contains(where: { $0.steps.contains { $0.slots.contains { $0.contains { !$0.status.isFinal } } } }) {
            roles.append(.rollout)
        }
        let learns = tracks.contains { track in
            track.steps.contains { step in
                if case .learning = step.phase { return true }
                return false
            }
        }
        if learns { roles.append(.learner) }
        return roles
    }

    mutating func checkReplica(_ name: Name, _ reference: AdapterReference, at now: Tick) {
        workers[name]?.lastHeard = now
        guard let head = state.heads.first(where: { $0.reference.name == reference.name }) else { return }
        if head.reference.version == reference.version && head.reference.digest != reference.digest {
            log(
                .error, "run", "replica-differs",
                [
                    .init("worker", .text(name.text)), .init("adapter", .text(reference.name.text)),
                    .init("version", .int(reference.version)), .init("expected", .text(head.reference.digest.short)),
                    .init("got", .text(reference.digest.short)),
                ])
            // A replica that differs must not compute gradients: it is closed, and pulls the state when it comes back.
            leave(name, reason: "its copy of \(reference.name) v\(reference.version) differs")
            actions.append(.dismiss(name, reason: "your copy of \(reference.name) v\(reference.version) differs"))
        }
    }
}
