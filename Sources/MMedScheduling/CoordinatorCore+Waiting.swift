import MMedCore
import MMedProtocol

// Signs of life: who waits on whom when nothing moves, and the end of a run that has nobody left to work for it.
extension CoordinatorCore {
    mutating func watch() {
        guard ending == nil else { return }
        let missing = needs().filter { need in
            !workers.values.contains { worker in
                worker.hello.role == need.role && need.adapter.map(worker.holds) ?? true
            }
        }
        missingSince = missingSince.filter { missing.contains($0.key) }
        for need in missing {
            let since = missingSince[need] ?? now
            missingSince[need] = since
            guard !isDraining, now.since(since) >= plan.settings.noWorkersMilliseconds else { continue }
            log(
                .error, "run", "no-workers",
                [
                    .init("missing", .text(need.description)),
                    .init("waited_s", .double(Double(now.since(since)) / 1_000)),
                    .init("mend", .text("resume the run and start mmed-worker --role \(need.role.rawValue)")),
                ])
            end(.noWorkers(need.role))
            return
        }
        let pause = plan.settings.stallMilliseconds
        if now.since(lastMovement) >= pause {
            guard now.since(lastStallLine) >= pause else { return }
            lastStallLine = now
            logStall(missing)
        } else if now.since(lastLine) >= pause {
            logProgress()
        }
    }

    /// What the open work cannot do without, in plan order.
    private func needs() -> [Need] {
        var needs: [Need] = []
        if tracks.contains(where: { $0.pendingSlots > 0 }) { needs.append(Need(role: .rollout, adapter: nil)) }
        for track in tracks {
            guard let head = track.head, let step = track.steps.first, case .learning = step.phase else { continue }
            needs.append(Need(role: .learner, adapter: head.reference.name))
        }
        return needs
    }

    private mutating func waiting(for what: String, _ fields: [LogEntry.Field] = [], level: LogLevel = .warn) {
        let still = LogEntry.Field("still_s", .double(Double(now.since(lastMovement)) / 1_000))
        log(level, "run", "waiting", [.init("for", .text(what)), still] + fields)
    }

    private mutating func logStall(_ missing: [Need]) {
        for need in missing {
            guard let since = missingSince[need] else { continue }
            let left = plan.settings.noWorkersMilliseconds - min(plan.settings.noWorkersMilliseconds, now.since(since))
            waiting(for: need.description, [.init("run_ends_in_s", .int(Int(left / 1_000)))])
        }
        // A long list says no more than a few: the rest is counted.
        let holders = workerNames.filter { workers[$0]?.leases.isEmpty == false }
        for name in holders.prefix(4) { logHolder(name) }
        if holders.count > 4 { waiting(for: "\(holders.count - 4) more workers with leases") }
        for track in tracks.indices {
            if case .committing = tracks[track].steps.first?.phase {
                waiting(for: "the update of \(scope(track)) to be applied", level: .info)
            }
        }
        if mergeUnderWay != nil { waiting(for: "the merge", level: .info) }
        for need in needs() where holders.isEmpty && !missing.contains(need) {
            let idle = workerNames.filter { workers[$0]?.hello.role == need.role && workers[$0]?.credits == 0 }
            if let first = idle.first {
                let others = idle.count > 1 ? " and \(idle.count - 1) more" : ""
                waiting(for: "\(first)\(others) to say it is ready")
            }
        }
    }

    private mutating func logHolder(_ name: Name) {
        guard let worker = workers[name] else { return }
        let held = worker.leases.compactMap { leases[$0] }
        let deadline = held.map(\.deadline).min() ?? now
        waiting(
            for: "\(name) with \(held.map { describe($0.work) }.joined(separator: ", "))",
            [
                .init("phase", .text("\(worker.phase)")),
                .init("silent_s", .double(Double(now.since(worker.lastHeard)) / 1_000)),
                .init("lease_ends_in_s", .int(Int(deadline.since(now) / 1_000))),
            ])
    }

    /// A line now and then while long work moves on.
    private mutating func logProgress() {
        guard state.stage < plan.stages.count, stage.kind != .merge else { return }
        var (paths, pathsDone, shards, shardsDone) = (0, 0, 0, 0)
        for track in tracks {
            for step in track.steps { paths += step.slotCount }
            for shard in track.steps.first?.shards ?? [] {
                shards += 1
                shardsDone += shard.status.isReceived ? 1 : 0
            }
            pathsDone -= track.pendingSlots
        }
        pathsDone += paths
        let steps = tracks.reduce(0) { $0 + $1.plan.steps.count }
        let done = tracks.reduce(0) { $0 + $1.progress.committedSteps }
        var fields: [LogEntry.Field] = [.init("steps", .text("\(done)/\(steps)"))]
        if paths > 0 { fields.append(.init("paths", .text("\(pathsDone)/\(paths)"))) }
        if shards > 0 { fields.append(.init("shards", .text("\(shardsDone)/\(shards)"))) }
        fields.append(.init("workers", .int(workers.count)))
        log(.info, stage.name, "progress", fields)
    }
}
