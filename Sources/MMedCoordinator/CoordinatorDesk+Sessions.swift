import MMedCore
import MMedProtocol
import MMedScheduling

// Who comes and goes.
extension CoordinatorDesk {
    mutating func hear(_ inbound: InboundFromWorkers) {
        switch inbound {
        case .message(let peer, .hello(let hello)): greet(hello, peer)
        case .message(let peer, let message):
            if let name = peers[peer] { return take(message, from: name, peer) }
            refusals.count(.stranger)
            ask(peer)
        case .malformed(let peer, let reason):
            warn("malformed-message", peers[peer], [.init("reason", .text(reason))])
            // It may have been a credit or a path, which nobody would miss: a new introduction says all of it again.
            if peers[peer] != nil { ask(peer) }
        case .otherVersion(let peer, let major, let minor):
            let theirs = "\(major).\(minor)"
            let own = "\(WireVersion.major).\(WireVersion.minor)"
            send(
                .refused(
                    reason: "you speak wire version \(theirs), this run \(own)",
                    mend: "run mmed-worker and mmed-coord of the same release"), to: peer)
            warn("other-version", peers[peer], [.init("theirs", .text(theirs)), .init("ours", .text(own))])
        case .unreachable(let peer):
            asked[peer] = nil
            if let name = release(peer) { feed(.left(name, reason: "its connection is gone")) }
        // The runtime ends with it: nobody can be told anything any more.
        case .closed: break
        }
    }

    /// Asks a stranger who it is. What it sent before the answer reaches it needs no further question.
    private mutating func ask(_ peer: PeerID) {
        if let last = asked[peer], now.since(last) < askMilliseconds { return }
        asked[peer] = now
        send(.introduceYourself, to: peer)
    }

    private mutating func greet(_ hello: Hello, _ peer: PeerID) {
        let holder = connections[hello.name] != nil ? core.hello(of: hello.name) : nil
        let judgement =
            quarantine(hello, peer)
            ?? handshake.judge(
                hello, by: peer.identity, holder: holder, holderIdentity: connections[hello.name]?.identity)
        switch judgement {
        case .refuse(let reason, let mend):
            send(.refused(reason: reason, mend: mend), to: peer)
            warn("worker-refused", hello.name, [.init("reason", .text(reason)), .init("mend", .text(mend))])
        case .accept:
            // One that is refused is still a stranger: what it says next costs no question more than others' words do.
            asked[peer] = nil
            if peers[peer] != hello.name, let former = release(peer) {
                feed(.left(former, reason: "its connection says that it is \(hello.name)"))
            }
            if let former = connections[hello.name], former != peer {
                peers[former] = nil
                if let holder, holder.instance != hello.instance {
                    // Left alone, it would introduce itself again and take the name back, for ever.
                    send(
                        .refused(
                            reason: "another process has taken the name \(hello.name)",
                            mend: "give each process a name of its own, as in --name \(hello.name).2"), to: former)
                }
            }
            peers[peer] = hello.name
            connections[hello.name] = peer
            toldVoid[hello.name] = nil
            toldOfBeat[hello.name] = nil
            let plan = core.plan
            send(
                .welcome(
                    Welcome(
                        run: plan.run, seed: plan.seed, beatMilliseconds: Int(plan.settings.beatMilliseconds),
                        adapters: plan.adapters, canaryIds: plan.canaryIds)), to: peer)
            feed(.joined(hello, by: peer.identity))
            if isDraining { send(.drain, to: peer) }
        }
    }

    /// Who was caught stays out for the rest of the run, also after a restart of the coordinator.
    private func quarantine(_ hello: Hello, _ peer: PeerID) -> Handshake.Directive? {
        core.quarantineReason(of: hello.name, peer.identity).map { reason in
            .refuse(
                reason: reason,
                mend:
                    "find out what is wrong with its machine or program; a worker that is mended needs another name, and "
                    + "with keys a new key")
        }
    }

    /// Takes a connection off the books; the worker's name when it was the one the worker is reached by.
    mutating func release(_ peer: PeerID) -> Name? {
        guard let name = peers.removeValue(forKey: peer), connections[name] == peer else { return nil }
        connections[name] = nil
        toldVoid[name] = nil
        toldOfBeat[name] = nil
        return name
    }

    mutating func warn(_ event: String, _ name: Name?, _ fields: [LogEntry.Field]) {
        let who = LogEntry.Field("worker", .text(name?.text ?? "unknown"))
        write(LogEntry(.warn, scope: "run", event: event, fields: [who] + fields))
    }

    /// A line of the log, unless there are enough of its kind.
    mutating func write(_ entry: LogEntry) {
        refusals.count(entry)
        if let line = throttle.admit(entry, at: now) { effects.append(.log(line)) }
    }
}
