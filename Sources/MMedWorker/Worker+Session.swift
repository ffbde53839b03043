import MMedCore
import MMedProtocol

// What a worker hears, and the beats that say it is alive.
extension Worker {
    func listen() async {
        for await inbound in endpoint.inbound {
            if isOver { return }
            switch inbound {
            case .message(let message): await take(message)
            case .malformed(let reason):
                log.line("a malformed message was dropped: \(reason)")
                // It may have been a lease or an acknowledgement: both sides say again what counts.
                await introduce()
            case .handshakeFailed(let reason, let mend):
                refusedAtTheDoor = (reason, mend)
                log.line("\(reason); trying again")
                // Who was let in before waits for ever for a coordinator that is gone, and not for one that keeps it out: from
                // here on it wants an answer.
                if welcome != nil { await introduce() }
            case .connectionLost:
                speakFirst()
                guard welcome != nil else { continue }
                isCutOff = true
                if leavesCutOff() { return }
                log.line(
                    "the connection to \(address) is gone: mmed-coord has ended or hung up, or the network is cut; what this "
                        + "worker holds is kept, and it joins again by itself (Ctrl-C: leave)")
            case .otherVersion(let major, let minor):
                end(
                    .failed(
                        MMedError(
                            .badConfig, at: "coordinator",
                            "it speaks wire version \(major).\(minor), this worker \(WireVersion.major)"
                                + ".\(WireVersion.minor)",
                            mend: "run mmed-worker and mmed-coord of the same release")))
            }
            if isOver { return }
        }
        end(.ended("the connection was closed"))
    }

    private func take(_ message: CoordinatorMessage) async {
        switch message {
        case .welcome(let welcome): await settle(welcome)
        case .refused(let reason, let mend):
            end(.failed(MMedError(.badConfig, at: "the coordinator refuses this worker", reason, mend: mend)))
        case .introduceYourself: await introduce()
        case .rollout(let lease): accept(lease.lease, .rollout(lease))
        case .gradient(let lease): accept(lease.lease, .gradient(lease))
        case .trajectoriesRecorded(let lease, let slots): recorded(lease, slots)
        case .gradientReceived(let lease, let bytes): received(lease, bytes)
        case .leaseRevoked(let lease, let reason): revoke(lease, reason)
        case .update(let update): assignments.yield(.update(update))
        case .blobChunk(let digest, let offset, let total, let bytes):
            transfers += 1
            await send(puller.take(digest, offset: offset, totalBytes: total, bytes: bytes))
        case .blobMissing(let digest): puller.miss(digest)
        case .drain:
            if !isDraining {
                log.line(
                    "the coordinator stops in good order: finishing \(held.count) leases, then leaving; once the run is "
                        + "resumed, start this worker again")
            }
            isDraining = true
            leaveIfDrained()
        case .end(let reason):
            log.line("the coordinator ended the session: \(reason)")
            end(.ended(reason))
        }
    }

    /// One introduction is enough, however many messages the coordinator could not place.
    private func introduce() async {
        guard standing != .introducing else { return }
        standing = .introducing
        await say(.hello(hello))
    }

    func send(_ requests: [BlobPuller.Request]) async {
        for request in requests { await say(.blobRequest(request.digest, offset: request.offset)) }
    }

    /// Begins a connection: what is not acknowledged goes out again, then the credits are said anew. Until that is done
    /// no beat names the leases that are held, so what they brought is never taken for lost.
    private func settle(_ welcome: Welcome) async {
        // Another answer to an introduction that was said twice.
        guard standing == .introducing else { return }
        if let former = self.welcome, former.run != welcome.run || former.seed != welcome.seed {
            end(
                .failed(
                    MMedError(
                        .tryAgain, at: "coordinator", "run \(former.run) was replaced by run \(welcome.run)",
                        mend: "start the worker again to join it")))
            return
        }
        log.line("\(self.welcome == nil ? "joined" : "rejoined") run \(welcome.run)")
        (refusedAtTheDoor, isCutOff) = (nil, false)
        if self.welcome == nil {
            assignments.yield(.canary)
        } else if let baseCanary {
            // A coordinator that was started again has forgotten it.
            await say(.canary(baseCanary))
        }
        self.welcome = welcome
        standing = .resending
        for lease in unrecorded.keys.sorted() {
            let paths = (unrecorded[lease] ?? [:]).values.sorted { $0.slot < $1.slot }
            for message in PathMessages.cut(paths) { await say(.trajectories(lease, message)) }
        }
        for lease in unreceived.keys.sorted() {
            unreceived[lease]?.offset = 0
            await sendGradient(lease)
        }
        await send(puller.restart())
        standing = .joined
        // From here on a finished lease says its own credit.
        let credits = leasesHeldMax - held.count
        if !isDraining && !isOver && credits > 0 { await say(.ready(credits: credits)) }
        leaveIfDrained()
    }

    private func accept(_ lease: LeaseID, _ assignment: Assignment) {
        guard !held.contains(lease) else { return }
        held.append(lease)
        assignments.yield(assignment)
    }

    private func recorded(_ lease: LeaseID, _ slots: [SlotID]) {
        for slot in slots { unrecorded[lease]?[slot] = nil }
        if unrecorded[lease]?.isEmpty == true { unrecorded[lease] = nil }
        leaveIfDrained()
    }

    private func received(_ lease: LeaseID, _ bytes: Int) {
        transfers += 1
        if let total = unreceived[lease]?.gradient.bytes.count, bytes >= total { unreceived[lease] = nil }
        leaveIfDrained()
    }

    private func revoke(_ lease: LeaseID, _ reason: String) {
        let isKnown = held.contains(lease) || unrecorded[lease] != nil || unreceived[lease] != nil
        // A lease that is done may be named by a beat that was under way.
        guard isKnown, !cancelled.contains(lease) else { return }
        log.line("lease \(lease.fence) was revoked: \(reason)")
        if held.contains(lease) { cancelled.insert(lease) }
        if current?.lease == lease { current?.since = clock.now }
        unrecorded[lease] = nil
        unreceived[lease] = nil
        leaveIfDrained()
    }

    // MARK: Beating

    func beat() async {
        var silence = 0
        var limit = timing.patience
        var asking: ContinuousClock.Instant?
        while !isOver && !Task.isCancelled {
            let isIntroducing = standing == .introducing
            let beats = Duration.milliseconds(welcome?.beatMilliseconds ?? 1_000)
            try? await clock.sleep(for: isIntroducing ? timing.introduction : beats)
            if isOver || Task.isCancelled { return }
            switch standing {
            case .introducing:
                let since = asking ?? clock.now
                asking = since
                if clock.now - since >= timing.answer {
                    end(.failed(nobodyAnswers()))
                    return
                }
                silence += 1
                guard silence >= limit else { continue }
                log.line(
                    "no answer from \(address) yet; is mmed-coord running, and is this the address that it printed? leaving "
                        + "\(timing.answer) after the first question")
                // The introduction may have been lost with a broken connection; saying it twice does no harm, but they
                // pile up while nobody is there.
                silence = 0
                limit = min(2 * limit, 64 * timing.patience)
                await say(.hello(hello))
            case .resending: asking = nil
            case .joined:
                asking = nil
                (silence, limit) = (0, timing.patience)
                await send(puller.nudge(after: timing.patience))
                if engineHangs() { return }
                guard standing == .joined, !isOver else { continue }
                await sayBeat()
            }
        }
    }

    /// What the next connection begins with. Not waited for: what is queued may be full until there is one.
    private func speakFirst() {
        Task {
            switch standing {
            // An introduction that has no answer may have gone with the connection: to a coordinator that died just then, say.
            case .introducing: await say(.hello(hello))
            // Who does not know the connection asks at its first word, which need not wait until a beat is due.
            case .joined: await sayBeat()
            // What is sent again is the first word.
            case .resending: break
            }
        }
    }

    private func sayBeat() async {
        let progress = engine.progress &+ transfers
        await say(.beat(Beat(phase: phase, progress: progress, leases: Array(held.prefix(Limits.leasesPerBeat)))))
    }

    private func nobodyAnswers() -> MMedError {
        if let (reason, mend) = refusedAtTheDoor { return MMedError(.badConfig, at: address, reason, mend: mend) }
        return MMedError(
            .tryAgain, at: address, "no coordinator has answered for \(timing.answer.components.seconds) s",
            mend: "start mmed-coord and give the address that it prints, or wait longer with --wait-seconds")
    }

    /// An engine that goes on with a revoked lease, for as long as a lease lasts and without progress, will not come back.
    private func engineHangs() -> Bool {
        guard let current else { return false }
        guard cancelled.contains(current.lease), current.progress == engine.progress else {
            self.current?.progress = engine.progress
            self.current?.since = clock.now
            return false
        }
        guard clock.now - current.since >= .milliseconds(current.patience) else { return false }
        end(
            .failed(
                MMedError(
                    .internalError, at: "engine",
                    "it does not stop work on lease \(current.lease.fence) and makes no progress",
                    mend: "start the worker again")))
        return true
    }
}
