import MMedCore
import MMedProtocol

// Who is there, what they hold, and when they are given up.
extension CoordinatorCore {
    /// Leases that a worker may hold and ask for together, whatever it says.
    static var leasesPerWorker: Int { 64 }
    /// Leases that a worker may hold before it has brought any result: a newcomer cannot hoard the run's work.
    static var leasesOnProbation: Int { 8 }

    /// Milliseconds for which beats alone can hold a lease: progress is only claimed, a result is seen.
    var longestHold: UInt64 { plan.settings.leaseMilliseconds * plan.settings.leaseRenewals }

    mutating func join(_ hello: Hello, _ identity: Identity?) {
        if let reason = quarantineReason(of: hello.name, identity) {
            actions.append(.dismiss(hello.name, reason: reason))
            return
        }
        if var known = workers[hello.name], known.hello == hello {
            // The same process on a new connection: it keeps its leases, names them in its beats, and says its credits
            // again.
            known.credits = 0
            known.lastHeard = now
            known.unconfirmed = known.leases
            known.confirmsBy = now + plan.settings.leaseMilliseconds / 4
            workers[hello.name] = known
            log(
                .info, "run", "worker-reconnected",
                [.init("worker", .text(hello.name.text)), .init("leases", .int(known.leases.count))])
            return
        }
        if workers[hello.name] != nil { leave(hello.name, reason: "replaced by a new process of the same name") }
        workers[hello.name] = WorkerState(hello: hello, lastHeard: now, identity: identity)
        spot.forgetSaid(of: hello.role)
        workerNames.insert(hello.name, at: workerNames.firstIndex { hello.name < $0 } ?? workerNames.count)
        moved()
        var fields: [LogEntry.Field] = [
            .init("worker", .text(hello.name.text)), .init("role", .text(hello.role.rawValue)),
            .init("threads", .int(hello.threads)), .init("host", .text(hello.host)),
            .init("pid", .int(Int(hello.processID))),
        ]
        if !hello.adapters.isEmpty {
            fields.append(.init("adapters", .text(hello.adapters.map(\.text).joined(separator: ","))))
        }
        log(.info, "run", "worker-joined", fields)
    }

    mutating func leave(_ name: Name, reason: String) {
        guard let worker = workers.removeValue(forKey: name) else { return }
        spot.forgetSaid(of: worker.hello.role)
        workerNames.removeAll { $0 == name }
        log(
            worker.leases.isEmpty ? .info : .warn, "run", "worker-left",
            [
                .init("worker", .text(name.text)), .init("role", .text(worker.hello.role.rawValue)),
                .init("leases", .int(worker.leases.count)), .init("reason", .text(reason)),
            ])
        for lease in worker.leases { release(lease, countsAsFailure: false, reason: reason) }
    }

    mutating func dismiss(_ name: Name, reason: String) {
        guard workers[name] != nil else { return }
        leave(name, reason: reason)
        actions.append(.dismiss(name, reason: reason))
    }

    mutating func addCredits(_ name: Name, _ credits: Int) {
        guard var worker = workers[name] else { return }
        let room = max(0, CoordinatorCore.leasesPerWorker - worker.leases.count - worker.credits)
        worker.credits += min(room, max(0, credits))
        worker.hasAsked = worker.hasAsked || credits > 0
        worker.lastHeard = now
        workers[name] = worker
    }

    mutating func hear(_ name: Name, _ beat: Beat) {
        guard var worker = workers[name] else { return }
        worker.lastHeard = now
        worker.phase = beat.phase
        var lost: [LeaseID] = []
        if !worker.unconfirmed.isEmpty && worker.confirmsBy <= now {
            lost = worker.unconfirmed.filter { !beat.leases.contains($0) && leases[$0] != nil }
            worker.unconfirmed = []
        }
        // A beat renews leases only while the worker computes: a hung engine loses them, a slow one does not.
        if beat.progress > worker.progress {
            worker.progress = beat.progress
            moved()
            for lease in beat.leases where leases[lease]?.worker == name {
                leases[lease]?.renew(until: now + plan.settings.leaseMilliseconds)
            }
        }
        workers[name] = worker
        guard !lost.isEmpty else { return }
        log(
            .info, "run", "leases-lost",
            [
                .init("worker", .text(name.text)), .init("leases", .int(lost.count)),
                .init("why", .text("they were under way when its connection changed")),
            ])
        for lease in lost { release(lease, countsAsFailure: false, reason: "lost on the way") }
    }

    /// Counts a failure against a worker; too many in a row, and it is asked to go.
    mutating func strike(_ name: Name) {
        guard var worker = workers[name] else { return }
        worker.strikes += 1
        worker.restsUntil = now + plan.settings.leaseMilliseconds
        workers[name] = worker
        if worker.strikes > max(3, plan.settings.retries) {
            dismiss(name, reason: "it failed \(worker.strikes) times in a row")
        }
    }

    mutating func expireLeases() {
        guard ending == nil else { return }
        dismissSilentWorkers()
        // Every event comes by here: only what is due is put in order.
        for lease in leases.filter({ $0.value.deadline <= now }).keys.sorted() {
            guard let held = leases[lease] else { continue }
            log(
                .warn, "run", "lease-expired",
                [
                    .init("worker", .text(held.worker.text)), .init("with", .text(describe(held.work))),
                    .init("held_s", .double(Double(now.since(held.grantedAt)) / 1_000)),
                ])
            actions.append(.send(held.worker, .leaseRevoked(lease, reason: "it expired without progress")))
            release(lease, countsAsFailure: true, reason: "the lease expired")
            strike(held.worker)
        }
    }

    private mutating func dismissSilentWorkers() {
        // Every event of a thousand workers comes by here, and to look at all of them is for when one may be due.
        guard now >= silenceDueAt else { return }
        let silence = plan.settings.beatMilliseconds * plan.settings.silentBeats
        for name in workerNames {
            guard let worker = workers[name], now.since(worker.lastHeard) >= silence else { continue }
            leave(name, reason: "no sign of life for \(silence / 1_000) s")
            actions.append(.lose(name))
        }
        silenceDueAt = (workers.values.lazy.map(\.lastHeard).min() ?? now) + silence
    }

    mutating func giveBack(_ lease: LeaseID, from name: Name, reason: String) {
        guard let held = leases[lease], held.worker == name else { return }
        workers[name]?.lastHeard = now
        log(
            .warn, "run", "lease-failed",
            [
                .init("worker", .text(name.text)), .init("with", .text(describe(held.work))),
                .init("reason", .text(reason)),
            ])
        release(lease, countsAsFailure: true, reason: reason)
        strike(name)
    }

    /// `12 paths`, or `gradient shard 3 of gba/pediatrics`.
    func describe(_ work: LeaseWork) -> String {
        switch work {
        case .slots(let ids): return ids.count == 1 ? "1 path" : "\(ids.count) paths"
        case .shard(let id):
            guard let place = place(of: id) else { return "gradient shard \(id.shard)" }
            return "gradient shard \(id.shard) of \(scope(place.track))"
        case .checks(let subjects): return subjects.count == 1 ? "1 check" : "\(subjects.count) checks"
        }
    }

    /// Takes a lease off the books.
    mutating func close(_ lease: LeaseID) {
        guard let held = leases.removeValue(forKey: lease) else { return }
        workers[held.worker]?.leases.removeAll { $0 == lease }
    }

    /// Ends a lease; what it did not finish is open again, or given up when it has failed too often.
    mutating func release(_ lease: LeaseID, countsAsFailure: Bool, reason: String) {
        guard let held = leases[lease] else { return }
        close(lease)
        switch held.work {
        case .slots(let ids):
            for id in ids {
                guard let place = place(of: id), case .leased(lease) = slot(at: place).status else { continue }
                if countsAsFailure { fail(place, reason: reason) } else { set(.open, at: place) }
            }
        case .shard(let id): reopen(id, leasedBy: lease, countsAsFailure: countsAsFailure, reason: reason)
        case .checks(let subjects): giveUp(subjects, of: lease, countsAsFailure: countsAsFailure)
        }
    }

    private mutating func reopen(_ id: ShardID, leasedBy lease: LeaseID, countsAsFailure: Bool, reason: String) {
        guard let place = place(of: id) else { return }
        var shard = tracks[place.track].steps[0].shards[place.shard]
        guard case .leased(let holder) = shard.status, holder == lease else { return }
        if countsAsFailure { shard.failures += 1 }
        shard.status = .open
        tracks[place.track].steps[0].shards[place.shard] = shard
        guard shard.failures > plan.settings.retries else { return }
        log(
            .error, scope(place.track), step: Int(id.step), "shard-failed",
            [
                .init("shard", .int(Int(id.shard))), .init("failures", .int(shard.failures)),
                .init("reason", .text(reason)),
            ])
        end(
            .failed(
                "\(scope(place.track)) step \(id.step + 1): gradient shard \(id.shard) failed \(shard.failures) times, last: "
                    + reason))
    }

    mutating func checkReplica(_ name: Name, _ reference: AdapterReference) {
        workers[name]?.lastHeard = now
        let own = tracks.first { $0.head?.reference.name == reference.name }?.head?.reference
        guard let known = own ?? state.heads.first(where: { $0.reference.name == reference.name })?.reference,
            known.version == reference.version, known.digest != reference.digest, workers[name] != nil
        else { return }
        log(
            .error, "run", "replica-differs",
            [
                .init("worker", .text(name.text)), .init("adapter", .text(reference.name.text)),
                .init("version", .int(reference.version)), .init("expected", .text(known.digest.short)),
                .init("got", .text(reference.digest.short)),
            ])
        // A replica that differs must not compute gradients: it is closed, and pulls the state when it comes back.
        dismiss(name, reason: "its copy of \(reference.name) v\(reference.version) differs")
    }
}
