import MMedCoordinator
import MMedCore
import MMedProtocol
import MMedScheduling

// Larger faults, from time to time.
extension Cluster {
    /// A process that starts again may find the newest states damaged.
    func damageStates() {
        guard restarts > 0, chance.hit(perMillion: rates.stateDamage), let older = disk.damage(chance.within(1...2))
        else { return }
        does(.stateDamaged)
        ledger.fellBack(to: older)
    }

    func mischief() {
        guard rates.mischiefMilliseconds > 0 else { return }
        put(.mischief, in: UInt64(chance.within(1...(2 * rates.mischiefMilliseconds))) * 1_000)
        let seat = chance.below(seats.count)
        switch chance.below(100) {
        case 0..<20: partition(seat)
        case 20..<42: if seats[seat].worker != nil { kill(seat, .workerKill) }
        case 42..<52: stop(seat)
        case 52..<58: if let worker = seats[seat].worker { leave(worker, seat) }
        case 58..<66: late(seat)
        case 66..<72:
            guard let worker = seats[seat].worker, !worker.isHung else { return }
            does(.workerHang, "\(seats[seat].name)")
            worker.isHung = true
        case 72..<77: pause()
        case 77..<81: second()
        case 81..<86: if let id = processes.last?.id { kill(id) }
        case 86..<88: drain()
        case 88..<93:
            does(.slowDisk)
            slowDiskUntil = now + UInt64(chance.within(500_000...4_000_000))
        case 93..<96:
            does(.diskFull)
            disk.isFull = true
            diskFullUntil = now + UInt64(chance.within(500_000...4_000_000))
        default: flap(seat)
        }
        if now >= diskFullUntil { disk.isFull = false }
        unhang()
    }

    /// A process whose engine hangs ends by itself after a while.
    private func unhang() {
        for seat in seats.indices where seats[seat].worker?.isHung == true && chance.below(60) == 0 {
            kill(seat, .workerKill)
        }
    }

    private func kill(_ seat: Int, _ fault: Fault) {
        does(fault, "\(seats[seat].name)")
        kill(seat)
    }

    private func kill(_ id: UInt64) {
        does(.coordinatorKill)
        end(id, "killed")
    }

    // MARK: Workers

    private func stop(_ seat: Int) {
        guard seats[seat].worker != nil else { return }
        does(.workerStop, "\(seats[seat].name)")
        seats[seat].stoppedUntil = now + UInt64(chance.within(500_000...15_000_000))
    }

    private func leave(_ worker: SimulatedWorker, _ seat: Int) {
        does(.workerLeave, "\(seats[seat].name)")
        worker.hear(.drain)
        settle(seat)
    }

    /// A worker that dies and comes back late, in the middle of other steps.
    private func late(_ seat: Int) {
        guard seats[seat].worker != nil else { return }
        does(.workerLate, "\(seats[seat].name)")
        seats[seat].worker = nil
        cut(seat)
        put(.spawn(seat: seat), in: UInt64(chance.within(5_000_000...20_000_000)))
    }

    // MARK: Links

    private func partition(_ seat: Int) {
        let until = now + UInt64(chance.within(300_000...8_000_000))
        let isWide = chance.below(6) == 0
        let kind = chance.below(3)
        let fault = [Fault.partition, .partitionUp, .partitionDown][kind]
        for place in isWide ? Array(seats.indices) : [seat] {
            does(fault, "\(seats[place].name)")
            block(place, up: kind != 2 ? until : 0, down: kind != 1 ? until : 0)
        }
    }

    /// A partition longer than the transport's heartbeat breaks the connection.
    private func block(_ seat: Int, up: UInt64, down: UInt64) {
        seats[seat].upBlockedUntil = max(seats[seat].upBlockedUntil, up)
        seats[seat].downBlockedUntil = max(seats[seat].downBlockedUntil, down)
        if max(up, down) > now + 3_000_000, let peer = seats[seat].connection {
            put(.cut(seat: seat, peer), in: 3_000_000)
        }
    }

    private func flap(_ seat: Int) {
        does(.flap, "\(seats[seat].name)")
        cut(seat)
        // Whatever connection it has by then is cut again.
        for round in 1...4 { put(.cutAgain(seat: seat), in: UInt64(round) * 1_600_000) }
    }

    // MARK: The coordinator

    private func pause() {
        guard let place = processes.indices.last, processes[place].pausedUntil <= now else { return }
        does(.pause)
        let length = UInt64(chance.within(200_000...20_000_000))
        processes[place].pausedUntil = now + length
        processes[place].slept += length
        processes[place].lastLine += length
    }

    /// Another process takes over while the first one still lives.
    private func second() {
        guard processes.count == 1 else { return }
        does(.secondCoordinator)
        put(.start, in: 0)
    }

    private func drain() {
        guard let process = processes.last, process.pausedUntil <= now else { return }
        does(.drain)
        drive(process.id) { $0.drain(at: $1) }
    }
}
