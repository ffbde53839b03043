import MMedAlgorithms
import MMedCore
import MMedProtocol
import MMedScheduling

// What workers with a name say.
extension CoordinatorDesk {
    mutating func take(_ message: WorkerMessage, from name: Name, _ peer: PeerID) {
        if let role = peer.identity?.role ?? core.hello(of: name)?.role, let kind = message.foreign(to: role) {
            return sendAway(peer, name, role, kind)
        }
        switch message {
        case .hello: break
        case .ready(let credits): feed(.ready(name, credits: credits))
        case .trajectories(let lease, let paths): judge(paths, of: lease, from: name)
        case .gradientChunk(let chunk): take(chunk, from: name)
        case .leaseFailed(let lease, let reason):
            if !core.isLive(lease, of: name) { refusals.count(.voidLease) }
            feed(.leaseFailed(name, lease, reason: reason))
        case .updateApplied(let reference): feed(.replica(name, reference))
        case .canary(let report): feed(.canary(name, report))
        case .blobRequest(let digest, let offset): serve(digest, offset, to: peer, name)
        case .beat(let beat): hear(beat, from: name)
        case .goodbye(let reason): if let name = release(peer) { feed(.left(name, reason: reason)) }
        }
    }

    /// A worker that says what only the other role may say is broken or lies: nothing of its work can be trusted.
    private mutating func sendAway(_ peer: PeerID, _ name: Name, _ role: WorkerRole, _ kind: String) {
        let reason = "a \(role.rawValue) worker has no business with \(kind)"
        warn("wrong-role", name, [.init("role", .text(role.rawValue)), .init("message", .text(kind))])
        send(
            .refused(reason: reason, mend: "run the mmed-worker of this release, with a key of the right role"),
            to: peer)
        if let name = release(peer) { feed(.left(name, reason: reason)) }
    }

    /// A worker that was given up, or that outlived a coordinator, may still work on leases that went to others.
    private mutating func hear(_ beat: Beat, from name: Name) {
        feed(.beat(name, beat))
        // A beat may cross the last answer to one of its leases: that is nothing to be counted.
        let void = beat.leases.filter { !core.isLive($0, of: name) }
        // Beats come at a known pace and name few leases: more of them must not cost an answer each.
        let pause = core.plan.settings.beatMilliseconds / 2
        guard !void.isEmpty, toldOfBeat[name].map({ now.since($0) >= pause }) ?? true else { return }
        toldOfBeat[name] = now
        for lease in void.prefix(CoordinatorDesk.voidLeasesTold) {
            tell(name, .leaseRevoked(lease, reason: "it is not valid any more"))
        }
    }

    /// A worker never holds more leases than this, so that one beat's answers are bounded.
    static var voidLeasesTold: Int { 64 }

    /// What a lease brought cannot be used: the work goes back, and the worker forgets its result.
    private mutating func reject(_ lease: LeaseID, of name: Name, _ reason: String) {
        refusals.count(.rejectedResult)
        feed(.leaseFailed(name, lease, reason: reason))
        tell(name, .leaseRevoked(lease, reason: reason))
    }

    private mutating func judge(_ paths: [Trajectory], of lease: LeaseID, from name: Name) {
        var judged: [JudgedTrajectory] = []
        var unreadable: String?
        for path in paths {
            guard let task = core.rewardTask(of: path, under: lease, from: name) else {
                // It cannot be taken; an empty verdict lets the core say why.
                judged.append(JudgedTrajectory(trajectory: path, parts: .lateArrival))
                continue
            }
            do {
                let parts = try reward.judge(path, task: task)
                if parts.total != path.reward {
                    warn(
                        "reward-differs", name,
                        [
                            .init("slot", .text(path.slot.description)), .init("theirs", .double(path.reward)),
                            .init("ours", .double(parts.total)),
                        ])
                }
                judged.append(JudgedTrajectory(trajectory: path, parts: parts))
            } catch {
                warn(
                    "path-unreadable", name,
                    [.init("slot", .text(path.slot.description)), .init("reason", .text("\(error)"))])
                unreadable = "a path cannot be read: \(error)"
            }
        }
        feed(.trajectories(name, lease, judged))
        if let unreadable { reject(lease, of: name, unreadable) }
    }

    private mutating func take(_ chunk: GradientChunk, from name: Name) {
        guard core.awaits(chunk.shard, under: chunk.lease, from: name), let adapter = core.adapterName(of: chunk.shard),
            let expected = optimizer.gradientBytes(of: adapter)
        else {
            answerUnawaited(chunk, from: name)
            return
        }
        do { try take(chunk, from: name, expectedBytes: expected) } catch {
            // There is no room for it, or the disk does not give it back: no worker's fault.
            effects.append(.fail(error))
        }
    }

    private mutating func take(_ chunk: GradientChunk, from name: Name, expectedBytes: Int) throws {
        let store = store
        switch try gradients.take(chunk, from: name, expectedBytes: expectedBytes, scratch: { try store.scratch() }) {
        case .partial(let bytes):
            tell(name, .gradientReceived(chunk.lease, bytes: bytes))
            // A sign of life: while it sends again after a reconnect a worker does not beat.
            feed(.ready(name, credits: 0))
        case .refused(let reason): reject(chunk.lease, of: name, reason)
        case .whole(let gradient):
            guard try store.digest(of: gradient) == chunk.digest else {
                reject(chunk.lease, of: name, "the gradient does not have the digest that came with it")
                return
            }
            guard try optimizer.isFinite(gradient) else {
                reject(chunk.lease, of: name, "the gradient is not finite")
                return
            }
            // A check is held against what is here, by its digest; it is never summed.
            if !core.isCheck(chunk.lease, of: name) { gradients.hold(gradient, of: chunk.shard, under: chunk.lease) }
            tell(name, .gradientReceived(chunk.lease, bytes: gradient.count))
            feed(.gradient(name, chunk.lease, chunk.shard, chunk.statistics, digest: chunk.digest))
        }
    }

    /// A gradient that is here already is acknowledged again; one that nobody waits for is not kept.
    private mutating func answerUnawaited(_ chunk: GradientChunk, from name: Name) {
        // Bytes of a shard that was taken back stay until the record of it is on the disk.
        if core.counts(chunk.shard), let bytes = gradients.bytesHeld(of: chunk.shard, under: chunk.lease) {
            tell(name, .gradientReceived(chunk.lease, bytes: bytes))
            return
        }
        refusals.count(.unawaitedGradient)
        guard toldVoid[name] != chunk.lease else { return }
        toldVoid[name] = chunk.lease
        tell(name, .leaseRevoked(chunk.lease, reason: "nobody waits for this gradient"))
    }

    private mutating func serve(_ digest: Digest, _ offset: Int, to peer: PeerID, _ name: Name) {
        let piece: BlobPiece?
        let bytesMax = Limits.blobChunkBytes
        do {
            if let recent = recentGradients.last(where: { $0.digest == digest }) {
                piece = try recent.gradient.piece(at: offset, bytesMax: bytesMax)
            } else {
                piece = try store.piece(of: digest, at: offset, bytesMax: bytesMax)
            }
        } catch {
            // Not the worker's fault: told that it is missing, an honest one would be sent away for asking.
            effects.append(.fail(error))
            return
        }
        guard let piece else {
            send(.blobMissing(digest), to: peer)
            warn("blob-missing", name, [.init("digest", .text(digest.short)), .init("offset", .int(offset))])
            return
        }
        send(.blobChunk(digest, offset: offset, totalBytes: piece.totalBytes, bytes: piece.bytes), to: peer)
    }
}
