import MMedCodec
import MMedCoordinator
import MMedCore
import MMedProtocol
import MMedScheduling

// Connections: whole messages in order or none, until a fault says otherwise.
extension Cluster {
    /// Microseconds on the way.
    private func latency() -> UInt64 { UInt64(chance.within(100...900)) }

    // MARK: To the coordinator

    /// What a worker said goes out, and its timers are set.
    func settle(_ seat: Int) {
        guard let worker = seats[seat].worker else { return }
        for (microseconds, timer) in worker.timers {
            put(.timer(seat: seat, life: seats[seat].life, timer), in: microseconds)
        }
        worker.timers = []
        let said = worker.said
        worker.said = []
        for lie in worker.lies { does(lie, "\(seats[seat].name)") }
        worker.lies = []
        for message in said {
            if seats[seat].liesOnWire && chance.hit(perMillion: rates.lie) {
                lie(seat, instead: message)
            } else {
                say(message, seat)
            }
        }
        guard let reason = worker.ended else { return }
        trace("\(seats[seat].name) ends: \(reason)")
        // Its last words may still arrive.
        seats[seat].worker = nil
        // One that was told that it may not come in is tried again by somebody who has not understood it, or who has.
        let isKeptOut = reason.contains("is quarantined")
        if isKeptOut && chance.below(2) == 0 { rename(seat) }
        put(.spawn(seat: seat), in: UInt64(chance.within(100_000...4_000_000)) * (isKeptOut ? 3 : 1))
        if let peer = seats[seat].connection { put(.cut(seat: seat, peer), in: 5_000) }
    }

    func say(_ message: WorkerMessage, _ seat: Int) {
        guard seats[seat].connection != nil else {
            if seats[seat].queued.count < 1_000 { seats[seat].queued.append(message) }
            return
        }
        guard var frame = encoded(message) else { return }
        MessageCodec.stamp(seats[seat].sequenceSent, on: &frame)
        seats[seat].sequenceSent += 1
        transmit(frame, message, seat)
    }

    func encoded(_ message: WorkerMessage) -> [UInt8]? {
        do { return try MessageCodec.encode(message) } catch {
            ledger.expect(false, "codec", "a worker's message cannot be sent: \(error)")
            return nil
        }
    }

    private func transmit(_ sealed: [UInt8], _ message: WorkerMessage, _ seat: Int) {
        guard let peer = seats[seat].connection else { return }
        if overheard.count < 64 { overheard.append(message) } else { overheard[chance.below(64)] = message }
        var due = max(now + latency(), seats[seat].upFree, seats[seat].upBlockedUntil)
        var frame = sealed
        if isData(message) {
            if chance.hit(perMillion: rates.duplicate) {
                does(.duplicate, "\(seats[seat].name)")
                let copy = due + UInt64(chance.within(0...3_000_000))
                queue.put(.toCoordinator(seat: seat, peer, .frame(frame, isOrdered: false)), due: copy)
            }
            if chance.hit(perMillion: rates.reorder) {
                does(.reorder, "\(seats[seat].name)")
                due += UInt64(chance.within(1_000...2_000_000))
                return queue.put(.toCoordinator(seat: seat, peer, .frame(frame, isOrdered: false)), due: due)
            }
        }
        if chance.hit(perMillion: rates.delay) {
            does(.delay, "\(seats[seat].name)")
            due += UInt64(chance.within(20_000...400_000))
        }
        if chance.hit(perMillion: rates.repetition) {
            does(.repetition, "\(seats[seat].name)")
            queue.put(.toCoordinator(seat: seat, peer, .frame(frame, isOrdered: true)), due: due + 10)
        }
        damage(&frame)
        seats[seat].upFree = due
        queue.put(.toCoordinator(seat: seat, peer, .frame(frame, isOrdered: true)), due: due)
        if chance.hit(perMillion: rates.cut) {
            does(.cut, "\(seats[seat].name)")
            cut(seat)
        }
    }

    /// Flips bits, or takes the end away.
    private func damage(_ frame: inout [UInt8]) {
        if chance.hit(perMillion: rates.flip) {
            does(.flip)
            for _ in 0...chance.below(3) { frame[chance.below(frame.count)] ^= 1 << UInt8(chance.below(8)) }
        }
        if chance.hit(perMillion: rates.truncate) {
            does(.truncate)
            frame.removeLast(1 + chance.below(frame.count))
        }
    }

    /// Messages that may come twice or out of order; the words of a session may not, since TCP keeps its order.
    private func isData(_ message: WorkerMessage) -> Bool {
        switch message {
        case .trajectories, .beat, .leaseFailed, .updateApplied, .canary, .blobRequest, .gradientChunk: true
        case .hello, .ready, .goodbye: false
        }
    }

    func arrive(_ parcel: Parcel, from seat: Int, _ peer: PeerID) {
        // What was under way on a connection that broke is lost.
        guard seats[seat].connection == peer else { return }
        let id = seats[seat].process
        guard let place = place(of: id) else { return }
        if let late = whenAwake(id) { return queue.put(.toCoordinator(seat: seat, peer, parcel), due: late) }
        switch parcel {
        case .bare(let message): hear(message, by: id, from: seat, peer)
        case .frame(let frame, let isOrdered):
            do {
                let message = try MessageCodec.decodeWorkerMessage(frame)
                let sequence = try MessageCodec.sequence(of: frame)
                if isOrdered {
                    if let last = processes[place].heard[peer], sequence <= last {
                        if mutant == .hearsRepetitions {
                            return hear(message, by: id, from: seat, peer, isRepeated: true)
                        }
                        return drive(id) { $0.take(.malformed(peer, reason: "a repetition"), at: $1) }
                    }
                    processes[place].heard[peer] = sequence
                }
                hear(message, by: id, from: seat, peer)
            } catch .otherVersion(let major, let minor) {
                drive(id) { $0.take(.otherVersion(peer, major: major, minor: minor), at: $1) }
            } catch {
                drive(id) { $0.take(.malformed(peer, reason: error.description), at: $1) }
            }
        }
    }

    // MARK: To a worker

    func send(_ message: CoordinatorMessage, to peer: PeerID, by id: UInt64) {
        guard let seat = seats.firstIndex(where: { $0.connection == peer && $0.process == id }) else {
            return put(.unreachable(process: id, peer), in: 300)
        }
        guard let place = place(of: id) else { return }
        do {
            let sequence = processes[place].sent[peer] ?? 0
            var frame = try MessageCodec.encode(message, sequence: sequence)
            processes[place].sent[peer] = sequence + 1
            var due = max(now + latency(), seats[seat].downFree, seats[seat].downBlockedUntil)
            if chance.hit(perMillion: rates.delay) {
                does(.delay, "to \(seats[seat].name)")
                due += UInt64(chance.within(20_000...400_000))
            }
            if isReply(message) && chance.hit(perMillion: rates.duplicate) {
                does(.duplicate, "to \(seats[seat].name)")
                queue.put(.toWorker(seat: seat, peer, frame), due: due + UInt64(chance.within(0...2_000_000)))
            }
            if isReply(message) && chance.hit(perMillion: rates.reorder) {
                does(.reorder, "to \(seats[seat].name)")
                return queue.put(
                    .toWorker(seat: seat, peer, frame), due: due + UInt64(chance.within(1_000...2_000_000)))
            }
            damage(&frame)
            seats[seat].downFree = due
            queue.put(.toWorker(seat: seat, peer, frame), due: due)
        } catch {
            ledger.expect(false, "codec", "a coordinator's message cannot be sent: \(error)")
        }
    }

    /// Answers that may come twice.
    private func isReply(_ message: CoordinatorMessage) -> Bool {
        switch message {
        case .trajectoriesRecorded, .gradientReceived, .leaseRevoked, .blobChunk, .blobMissing, .introduceYourself: true
        default: false
        }
    }

    func arrive(_ frame: [UInt8], at seat: Int, _ peer: PeerID) {
        guard seats[seat].connection == peer, let worker = seats[seat].worker else { return }
        if seats[seat].stoppedUntil > now {
            return queue.put(.toWorker(seat: seat, peer, frame), due: seats[seat].stoppedUntil)
        }
        do {
            let message = try MessageCodec.decodeCoordinatorMessage(frame)
            trace("\(seats[seat].name) <- \(Words.short(message))")
            begin(message, worker)
            worker.hear(message)
        } catch {
            trace("\(seats[seat].name) <- damaged: \(error)")
            worker.hearDamaged()
        }
        settle(seat)
    }

    /// A lease may meet an engine that fails or hangs.
    private func begin(_ message: CoordinatorMessage, _ worker: SimulatedWorker) {
        switch message {
        case .rollout, .gradient:
            if chance.hit(perMillion: rates.leaseFailure) {
                does(.leaseFailure, "\(worker.hello.name)")
                worker.failsNext = true
            }
            if chance.hit(perMillion: rates.hang) {
                does(.workerHang, "\(worker.hello.name)")
                worker.isHung = true
            }
        default: break
        }
    }

    func fire(_ timer: WorkerTimer, seat: Int, life: UInt64) {
        guard seats[seat].life == life, let worker = seats[seat].worker else { return }
        if seats[seat].stoppedUntil > now {
            return queue.put(.timer(seat: seat, life: life, timer), due: seats[seat].stoppedUntil)
        }
        worker.fire(timer)
        settle(seat)
    }

    // MARK: Connections

    func cut(_ seat: Int) {
        guard seats[seat].connection != nil else { return }
        seats[seat].connection = nil
        put(.connect(seat: seat), in: UInt64(chance.within(20_000...1_500_000)))
    }

    func connect(_ seat: Int) {
        guard seats[seat].worker != nil, seats[seat].connection == nil else { return }
        let blocked = max(seats[seat].upBlockedUntil, seats[seat].downBlockedUntil)
        guard blocked <= now, place(of: primary) != nil else {
            return put(.connect(seat: seat), in: UInt64(chance.within(100_000...1_000_000)))
        }
        connections += 1
        seats[seat].connection = PeerID(number: connections)
        seats[seat].process = primary
        (seats[seat].upFree, seats[seat].downFree) = (now, now)
        let queued = seats[seat].queued
        seats[seat].queued = []
        for message in queued { say(message, seat) }
    }

    func spawn(_ seat: Int) {
        guard seats[seat].worker == nil else { return }
        instances += 1
        seats[seat].life += 1
        seats[seat].queued = []
        seats[seat].stoppedUntil = 0
        if seats[seat].connection != nil { cut(seat) }
        let hello = Hello(
            role: seats[seat].role, name: seats[seat].name, instance: instances, modelDigest: SimulatedPlan.model,
            threads: 1, adapters: seats[seat].adapters, host: "host", processID: Int32(truncatingIfNeeded: instances))
        seats[seat].worker = SimulatedWorker(
            hello: hello, chance: Chance(seed: chance.word()), cheat: seats[seat].cheat, mutant: mutant)
        trace("\(seats[seat].name) starts as instance \(instances)")
        settle(seat)
        put(.connect(seat: seat), in: latency())
    }

    func kill(_ seat: Int) {
        seats[seat].worker = nil
        seats[seat].queued = []
        cut(seat)
        put(.spawn(seat: seat), in: UInt64(chance.within(200_000...5_000_000)))
    }
}
