import MMedCoordinator
import MMedCore
import MMedProtocol
import MMedScheduling

// What a coordinator hears and says, and what must be true of it then.
extension Cluster {
    /// A decoded message reaches the desk.
    func hear(_ message: WorkerMessage, by id: UInt64, from seat: Int, _ peer: PeerID) {
        guard let place = processes.firstIndex(where: { $0.id == id }) else { return }
        trace("\(seats[seat].name) -> [\(id)] \(Words.short(message))")
        let name = seats[seat].name
        let core = processes[place].desk.core
        let before = Before(message, core, name, ledger)
        if case .ready(let credits) = message { ledger.isReady(name, credits, process: id) }
        if case .leaseFailed(let lease, _) = message, !seats[seat].isLiar, core.isLive(lease, of: name) {
            ledger.failed(lease)
        }
        processes[place].heardAt[name] = now - processes[place].slept
        let tick = processes[place].tick(now)
        let effects = processes[place].desk.take(.message(peer, message), at: tick)
        judge(effects, after: before, name, seat)
        perform(effects, by: id)
    }

    /// What was true before a message was taken in.
    struct Before {
        let message: WorkerMessage
        /// Slots of the message that somebody holds, and under what.
        var held: [SlotID: LeaseID] = [:]
        var isContradiction = false
        var isForeignReplica = false

        init(_ message: WorkerMessage, _ core: CoordinatorCore, _ name: Name, _ ledger: Ledger) {
            self.message = message
            guard case .trajectories(let lease, let paths) = message else { return }
            // What cannot be read is no evidence.
            for path in paths where path.completionIds.allSatisfy({ $0 < SimulatedPorts.vocabulary }) {
                if let known = ledger.paths[path.slot], known.sentUnder == lease, core.rewardTask(of: path.slot) != nil,
                    !ledger.isSame(known.path.trajectory, path), core.hello(of: name) != nil
                {
                    isContradiction = true
                }
            }
        }
    }

    private func judge(_ effects: [DeskEffect], after before: Before, _ name: Name, _ seat: Int) {
        let end = effects.contains { if case .send(.end, _) = $0 { true } else { false } }
        if before.isContradiction {
            ledger.expect(
                end || isQueueing(effects), "evidence is acted on", "\(name) gave two paths for a slot and stays")
        }
        guard !seats[seat].isLiar else { return }
        for case .log(let entry) in effects
        where ["paths-refused", "path-contradicts", "replica-differs"].contains(entry.event) {
            ledger.expect(
                false, "the honest are safe", "\(name) did nothing wrong: \(entry.event) \(Words.short(entry.fields))")
        }
    }

    /// What follows may wait behind a record.
    private func isQueueing(_ effects: [DeskEffect]) -> Bool {
        processes.contains { $0.inFlight != nil }
            || effects.contains { if case .append = $0 { true } else { false } }
    }

    /// A message leaves.
    func observe(_ message: CoordinatorMessage, to peer: PeerID, by id: UInt64) {
        guard let place = processes.firstIndex(where: { $0.id == id }) else { return }
        let seat = seats.firstIndex { $0.connection == peer && $0.process == id }
        let name = seat.map { seats[$0].name }
        switch message {
        case .rollout(let lease): if let name { ledger.granted(lease, to: name, process: id) }
        case .gradient(let lease): if let name { ledger.granted(lease, to: name, process: id) }
        case .trajectoriesRecorded(let lease, let slots): ledger.acknowledged(slots, of: lease, to: name, process: id)
        case .leaseRevoked(let lease, let reason):
            ledger.revoked(lease, of: name, process: id)
            if let seat, !seats[seat].isLiar {
                if reason.contains("expired") { ledger.failed(lease) }
                ledger.expect(
                    !reason.contains("digest") && !reason.contains("finite") && !reason.contains("expected"),
                    "the honest are safe", "\(seats[seat].name) did nothing wrong: \(reason)")
            }
        case .update(let update): ledger.announced(update)
        case .welcome:
            processes[place].asked[peer] = nil
            guard let seat else { return }
            ledger.expect(
                seats[seat].worker.map { $0.hello.modelDigest == SimulatedPlan.model } ?? true, "handshake",
                "\(seats[seat].name) has another model and is welcome")
            ledger.welcomed(
                seats[seat].name, lastFence: processes[place].desk.core.lastFence.fence,
                process: id)
        case .gradientReceived(let lease, let bytes):
            if let name, bytes >= SimulatedEngine.gradientBytes { ledger.received(lease, from: name, process: id) }
        case .introduceYourself:
            if let last = processes[place].asked[peer] {
                ledger.expect(
                    now - last >= 990_000, "bounds", "a stranger is asked twice in \((now - last) / 1_000) ms")
            }
            processes[place].asked[peer] = now
        case .blobChunk(let digest, let offset, let total, let bytes):
            guard let blob = disk.blob(digest) else { return }
            ledger.expect(
                total == blob.count && offset + bytes.count <= blob.count
                    && Array(blob[offset..<(offset + bytes.count)]) == bytes, "true blobs",
                "bytes of blob \(digest.short) are not those at \(offset)")
        case .end(let reason):
            guard let name, reason.hasPrefix("no sign of life") else { return }
            let silence = now - processes[place].slept - (processes[place].heardAt[name] ?? 0)
            let limit = plan.settings.beatMilliseconds * plan.settings.silentBeats * 1_000
            ledger.expect(
                silence + 2_200_000 >= limit, "pauses are nobody's fault",
                "\(name) was heard \(silence / 1_000) ms ago: \(reason)")
        case .refused, .blobMissing, .drain: break
        }
    }
}

/// Messages in a few words.
enum Words {
    static func short(_ message: WorkerMessage) -> String {
        switch message {
        case .hello(let hello): "hello \(hello.instance)"
        case .ready(let credits): "ready \(credits)"
        case .trajectories(let lease, let paths):
            "paths \(paths.map(\.slot.description).joined(separator: " ")) of \(short(lease))"
        case .gradientChunk(let chunk):
            "chunk \(chunk.offset) of shard \(chunk.shard.step)/\(chunk.shard.shard) \(short(chunk.lease))"
        case .leaseFailed(let lease, let reason): "failed \(short(lease)) \(reason)"
        case .updateApplied(let reference): "applied \(reference.name) v\(reference.version)"
        case .canary(let report): "canary \(report.logprob)"
        case .blobRequest(let digest, let offset): "wants \(digest.short) from \(offset)"
        case .beat(let beat): "beat \(beat.progress) \(beat.leases.map(short).joined(separator: " "))"
        case .goodbye(let reason): "goodbye \(reason)"
        }
    }

    static func short(_ message: CoordinatorMessage) -> String {
        switch message {
        case .welcome: "welcome"
        case .refused(let reason, _): "refused \(reason)"
        case .introduceYourself: "who are you"
        case .rollout(let lease):
            "rollout \(short(lease.lease)) \(lease.questions.flatMap(\.slots).map(\.description).joined(separator: " "))"
        case .gradient(let lease):
            "gradient \(short(lease.lease)) shard \(lease.shard.track)/\(lease.shard.step)/\(lease.shard.update)/\(lease.shard.shard)"
        case .trajectoriesRecorded(let lease, let slots):
            "recorded \(slots.map(\.description).joined(separator: " ")) of \(short(lease))"
        case .gradientReceived(let lease, let bytes): "received \(bytes) of \(short(lease))"
        case .leaseRevoked(let lease, let reason): "revoked \(short(lease)): \(reason)"
        case .update(let update): "update \(update.result.name) v\(update.result.version)"
        case .blobChunk(let digest, let offset, _, let bytes): "blob \(digest.short) \(offset)+\(bytes.count)"
        case .blobMissing(let digest): "no blob \(digest.short)"
        case .drain: "drain"
        case .end(let reason): "end: \(reason)"
        }
    }

    static func short(_ lease: LeaseID) -> String {
        "L\(lease.fence >> LeaseID.grantBits).\(lease.fence & ((1 << LeaseID.grantBits) - 1))"
    }

    static func short(_ fields: [LogEntry.Field]) -> String {
        fields.map { field in
            switch field.value {
            case .int(let value): "\(field.key)=\(value)"
            case .double(let value): "\(field.key)=\(value)"
            case .text(let text): "\(field.key)=\(text)"
            }
        }.joined(separator: " ")
    }
}
