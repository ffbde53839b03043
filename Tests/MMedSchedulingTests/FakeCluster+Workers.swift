import MMedCore
import MMedProtocol

@testable import MMedScheduling

// The workers' side: joining, beating, dying, computing.
extension FakeCluster {
    mutating func join(_ name: Name, _ role: WorkerRole, _ adapters: [Name]) {
        instances += 1
        let hello = Hello(
            role: role, name: name, instance: instances, modelDigest: Bytes().digest, threads: 1, adapters: adapters,
            host: "host", processID: 1)
        workers.removeAll { $0.hello.name == name }
        workers.append(FakeWorker(hello: hello))
        feed(.joined(hello))
        if plan.settings.spotCheck > 0 { feed(FakeCluster.canary(of: name)) }
        feed(.ready(name, credits: 2))
        put(.beat(instance: instances), in: 1_000)
    }

    /// The process is gone; another of its name comes after a while.
    mutating func respawn(_ place: Int) {
        let hello = workers.remove(at: place).hello
        deaths += 1
        put(.join(hello.name, hello.role, hello.adapters), in: delay())
    }

    mutating func beat(_ instance: UInt64) {
        guard let place = workers.firstIndex(where: { $0.hello.instance == instance }) else { return }
        let name = workers[place].hello.name
        if draw.chance(faults.death) {
            // Announced, or silent until the beats are missed or the name is taken over.
            if draw.chance(500) { put(.event(.left(name, reason: "killed")), in: delay()) }
            respawn(place)
            return
        }
        if draw.chance(faults.reconnect) {
            feed(.joined(workers[place].hello))
            feed(.ready(name, credits: max(0, workers[place].asks - workers[place].held.count)))
        }
        guard let place = workers.firstIndex(where: { $0.hello.instance == instance }) else { return }
        if !workers[place].held.isEmpty && !workers[place].isHung { workers[place].progress += 1 }
        let worker = workers[place]
        feed(.beat(name, Beat(phase: .sampling, progress: worker.progress, leases: worker.held)))
        put(.beat(instance: instance), in: 1_000)
    }

    mutating func deliver(_ message: CoordinatorMessage, to name: Name) {
        guard let place = workers.firstIndex(where: { $0.hello.name == name }) else { return }
        switch message {
        case .rollout(let lease):
            check(lease.lease, lease.durationMilliseconds, role: .rollout, of: name)
            guard accepts(lease.lease, place) else { return }
            sample(lease, place)
        case .gradient(let lease):
            check(lease.lease, lease.durationMilliseconds, role: .learner, of: name)
            if !workers[place].hello.adapters.isEmpty
                && !workers[place].hello.adapters.contains(lease.adapter.name)
            {
                problems.append("\(name) has a lease of \(lease.adapter.name), which it does not hold")
            }
            guard accepts(lease.lease, place) else { return }
            differentiate(lease, place)
        case .leaseRevoked(let lease, _):
            // Half of the workers hear it too late: what they send then must be refused.
            if workers[place].held.contains(lease) {
                workers[place].isHung = false
                put(.endOfWork(instance: workers[place].hello.instance, lease), in: delay())
            }
        default: break
        }
    }

    private mutating func check(_ lease: LeaseID, _ duration: Int, role: WorkerRole, of name: Name) {
        if lease.fence <= lastFence { problems.append("fence \(lease.fence) after \(lastFence)") }
        lastFence = lease.fence
        if duration <= 0 { problems.append("a lease of \(duration) ms") }
        if core.hello(of: name)?.role != role { problems.append("\(name) has a lease of another role") }
    }

    /// False when the lease is lost on the way; a worker may also hang on it, which its beats then show.
    private mutating func accepts(_ lease: LeaseID, _ place: Int) -> Bool {
        if draw.chance(faults.loss) { return false }
        workers[place].held.append(lease)
        if draw.chance(faults.loss) {
            workers[place].isHung = true
            return false
        }
        return true
    }

    private mutating func sample(_ lease: RolloutLease, _ place: Int) {
        let (name, instance) = (workers[place].hello.name, workers[place].hello.instance)
        var last: UInt64 = 0
        if draw.chance(faults.failure) {
            last = delay()
            put(.event(.leaseFailed(name, lease.lease, reason: "out of memory")), in: last)
        } else {
            for question in lease.questions {
                let paths = question.slots.map { slot in
                    let path = FakeEngine.path(slot, question, seed: plan.seed)
                    return cheats[name]?.path(path) ?? path
                }
                // Whole questions, or path by path and in any order.
                let messages = draw.chance(300) ? [paths] : paths.map { [$0] }
                for message in messages {
                    let due = delay() * faults.slowRollouts
                    last = max(last, due)
                    put(.paths(name, lease.lease, message), in: due)
                    if draw.chance(faults.duplicate) { put(.paths(name, lease.lease, message), in: due + delay()) }
                }
            }
        }
        put(.endOfWork(instance: instance, lease.lease), in: last + 1)
    }

    private mutating func differentiate(_ lease: GradientLease, _ place: Int) {
        let (name, instance) = (workers[place].hello.name, workers[place].hello.instance)
        let due = delay() * faults.slowLearners
        if draw.chance(faults.failure) {
            put(.event(.leaseFailed(name, lease.lease, reason: "out of memory")), in: due)
        } else {
            let truth = FakeEngine.gradient(lease)
            let event = Event.gradient(
                name, lease.lease, lease.shard, FakeEngine.statistics(lease),
                digest: cheats[name]?.gradient(truth, of: lease.shard) ?? truth)
            put(.event(event), in: due)
            if draw.chance(faults.duplicate) { put(.event(event), in: due + delay()) }
        }
        put(.endOfWork(instance: instance, lease.lease), in: due + 1)
    }
}
