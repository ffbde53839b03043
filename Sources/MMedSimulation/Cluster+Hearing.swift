import MMedCoordinator
import MMedCore
import MMedProtocol
import MMedScheduling

// What a coordinator hears and says, and what must be true of it then.
extension Cluster {
    /// A decoded message reaches the desk.
    func hear(_ message: WorkerMessage, by id: UInt64, from seat: Int, _ peer: PeerID, isRepeated: Bool = false) {
        guard let place = place(of: id) else { return }
        trace("\(seats[seat].name) -> [\(id)] \(Words.short(message))")
        let name = seats[seat].name
        let before = Before(message, processes[place].desk.core, name, ledger)
        if case .ready(let credits) = message, !isRepeated { ledger.isReady(name, credits, process: id) }
        if case .leaseFailed(let lease, _) = message, !seats[seat].isLiar,
            processes[place].desk.core.isLive(lease, of: name)
        {
            ledger.failed(lease)
        }
        ledger.heard(message, from: name)
        oversleep(id)
        guard let place = self.place(of: id) else { return }
        if isSignOfLife(message, of: name, peer, place) {
            let awake = now - processes[place].slept
            let silence = awake - (processes[place].heardAt[name] ?? awake)
            if silence >= shortestSilence { processes[place].silences[name] = silence }
            processes[place].heardAt[name] = awake
        }
        noteAnswer(message, of: name, place)
        let instance = processes[place].desk.core.hello(of: name)?.instance
        let tick = processes[place].tick(now)
        let (taken, sender) = twisted(message, from: seat, peer, by: id)
        let question = asks(message, peer, by: id)
        let effects = question + twisted(processes[place].desk.take(.message(sender, taken), at: tick), by: id)
        noteJudge(message, of: name, peer, place, formerly: instance)
        judge(effects, after: before, name, seat)
        owe(message, to: name, peer, by: id)
        perform(effects, by: id)
    }

    /// What a connection says before it says its name is no sign of a worker, nor is what nobody asked for: copies of it
    /// may come long after the worker has stopped.
    private func isSignOfLife(_ message: WorkerMessage, of name: Name, _ peer: PeerID, _ place: Int) -> Bool {
        if case .hello = message { return true }
        guard processes[place].desk.name(of: peer) == name else { return false }
        switch message {
        case .gradientChunk(let chunk):
            return processes[place].desk.core.awaits(chunk.shard, under: chunk.lease, from: name)
        case .leaseFailed(let lease, _): return processes[place].desk.core.isLive(lease, of: name)
        case .blobRequest: return false
        default: return true
        }
    }

    /// What was true before a message was taken in.
    struct Before {
        let message: WorkerMessage
        var isContradiction = false

        init(_ message: WorkerMessage, _ core: CoordinatorCore, _ name: Name, _ ledger: Ledger) {
            self.message = message
            // What may have been taken back meanwhile is no evidence.
            guard case .trajectories(let lease, let paths) = message, !ledger.mayReopen else { return }
            // What cannot be read is no evidence.
            for path in paths where path.completionIds.allSatisfy({ $0 < SimulatedPorts.vocabulary }) {
                if let known = ledger.paths[path.slot], known.sentUnder == lease, core.rewardTask(of: path.slot) != nil,
                    !ledger.isSame(known.path.trajectory, path, ignoringVersion: true), core.hello(of: name) != nil
                {
                    isContradiction = true
                }
            }
        }
    }

    private func judge(_ effects: [DeskEffect], after before: Before, _ name: Name, _ seat: Int) {
        // Who says again what another said may be refused for its role before it is heard.
        let end = effects.contains { effect in
            switch effect {
            case .send(.end, _), .send(.refused, _): true
            default: false
            }
        }
        if before.isContradiction {
            ledger.expect(
                end, "evidence is acted on", "\(name) gave two paths for a slot and stays")
        }
        guard !seats[seat].isLiar else { return }
        for case .log(let entry) in effects
        where ["paths-refused", "path-contradicts", "replica-differs"].contains(entry.event) {
            ledger.expect(
                false, "the honest are safe", "\(name) did nothing wrong: \(entry.event) \(Words.short(entry.fields))")
        }
    }

    /// Work that leaves for a worker is nobody else's any more.
    private func expectOneHolder(_ message: CoordinatorMessage, _ place: Int) {
        guard processes[place].id == ledger.newest, !isCheck(message, place) else { return }
        var former: [LeaseID] = []
        switch message {
        case .rollout(let lease):
            former = lease.questions.flatMap(\.slots).compactMap { ledger.grants[$0] }.filter { $0 != lease.lease }
        case .gradient(let lease):
            if let known = ledger.shards[lease.shard]?.lease.lease, known != lease.lease { former = [known] }
        default: return
        }
        for lease in former {
            // A liar may hold the rest of a lease of which a path was refused.
            guard let holder = ledger.holders[lease], !seats.contains(where: { $0.name == holder && $0.isLiar }) else {
                continue
            }
            ledger.expect(
                !processes[place].desk.core.isLive(lease, of: holder), "one holder",
                "what \(holder) holds under \(lease.fence) is leased again")
        }
    }

    /// A message leaves.
    func observe(_ message: CoordinatorMessage, to peer: PeerID, by id: UInt64) {
        guard let place = place(of: id) else { return }
        let seat = seats.firstIndex { $0.connection == peer && $0.process == id }
        let name = seat.map { seats[$0].name }
        pay(message, to: peer, place)
        expectOneHolder(message, place)
        switch message {
        case .rollout(let lease): if let name { observe(lease, to: name, place) }
        case .gradient(let lease): if let name { observe(lease, to: name, place) }
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
        case .end, .refused, .blobMissing, .drain: break
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
