import MMedCoordinator
import MMedCore
import MMedProtocol
import MMedScheduling

// Coordinator processes: their start, the effects they perform, and their death.
extension Cluster {
    /// A process starts: it raises the epoch on the disk, reads what is there and serves.
    func start() {
        guard outcome == nil else { return }
        if now >= diskFullUntil { disk.isFull = false }
        var state = disk.checkpoint
        if restarts > 0 || failedStarts > 0 { state.epoch += 1 }
        restarts += 1
        do { try disk.write(state) } catch {
            failedStarts += 1
            trace("a coordinator cannot write its epoch: \(error)")
            return put(.start, in: UInt64(chance.within(200_000...2_000_000)))
        }
        disk.clean()
        ledger.started(state.epoch)
        let ports = SimulatedPorts()
        let desk = CoordinatorDesk(
            plan: plan, state: state, journal: disk.records, modelDigest: SimulatedPlan.model, optimizer: ports,
            reward: ports, store: disk)
        // The origin of a clock means nothing, and may be years away from the last one.
        let origin = rates.mischiefMilliseconds > 0 ? chance.word() >> 20 : 0
        if origin > 0 { does(.clockOrigin) }
        var process = SimulatedProcess(id: state.epoch, desk: desk, origin: origin, lastLine: now)
        process.stepsToLive = stepsToLive()
        processes.append(process)
        primary = process.id
        trace("coordinator of epoch \(state.epoch) starts with \(disk.records.count) records")
        put(.tick(process: process.id), in: 0)
    }

    /// Steps until the next kill, so that each step is as likely to meet it.
    private func stepsToLive() -> Int {
        rates.kill == 0 ? .max : 1 + chance.below(2_000_000 / rates.kill)
    }

    /// The process is gone, with all that was only in its memory.
    func end(_ id: UInt64, _ why: @autoclosure () -> String) {
        guard let place = processes.firstIndex(where: { $0.id == id }) else { return }
        trace("coordinator of epoch \(id) ends: \(why())")
        let process = processes.remove(at: place)
        if let records = process.inFlight {
            // A write under way comes whole to the disk or not at all; nobody hears which.
            if chance.below(2) == 0, (try? disk.append(records, epoch: id)) != nil {
                does(.groupUnheard)
                ledger.wrote(records, of: id)
            } else {
                does(.groupLost)
            }
        }
        for seat in seats.indices where seats[seat].process == id { cut(seat) }
        if processes.isEmpty { put(.start, in: UInt64(chance.within(100_000...1_500_000))) }
        if let other = processes.last { primary = other.id }
    }

    /// Counts a step of a process; true when it is killed at this point.
    private func isKilled(_ id: UInt64, _ fault: Fault) -> Bool {
        guard let place = processes.firstIndex(where: { $0.id == id }) else { return true }
        guard rates.kill > 0 else { return false }
        processes[place].stepsToLive -= 1
        guard processes[place].stepsToLive <= 0 else { return false }
        does(fault)
        end(id, "killed at \(fault)")
        return true
    }

    func perform(_ effects: [DeskEffect], by id: UInt64) {
        for effect in effects {
            guard ledger.breach == nil, outcome == nil else { return }
            switch effect {
            case .send(let message, let peer):
                if isKilled(id, .killBeforeSend) { return }
                observe(message, to: peer, by: id)
                send(message, to: peer, by: id)
                if isKilled(id, .killAfterSend) { return }
            case .append(let records):
                if isKilled(id, .killBeforeAppend) { return }
                append(records, by: id)
                if isKilled(id, .killAfterAppend) { return }
            case .save(let state):
                if isKilled(id, .killBeforeSave) { return }
                guard save(state, by: id) else { return }
                if isKilled(id, .killAfterSave) { return }
            case .apply(let order, let gradients): apply(order, gradients, by: id)
            case .merge(let order):
                let digest = disk.put(SimulatedEngine.merge(order))
                guard let name = Name("merged") else { return }
                put(
                    .merged(process: id, AdapterReference(name: name, version: 0, digest: digest)),
                    in: UInt64(chance.within(5_000...200_000)))
            case .log(let entry): log(entry, by: id)
            case .metric: break
            case .finish(let result): return finish(result, by: id)
            }
        }
    }

    // MARK: The disk

    private func append(_ records: [JournalRecord], by id: UInt64) {
        guard let place = processes.firstIndex(where: { $0.id == id }) else { return }
        ledger.expect(processes[place].inFlight == nil, "one group at a time", "a group before the last is written")
        processes[place].inFlight = records
        var microseconds = UInt64(chance.within(200...4_000))
        if slowDiskUntil > now { microseconds += UInt64(chance.within(50_000...1_500_000)) }
        put(.written(process: id), in: microseconds)
    }

    func written(_ id: UInt64, _ item: Item) {
        guard let place = processes.firstIndex(where: { $0.id == id }), let records = processes[place].inFlight else {
            return
        }
        if let late = whenAwake(id) { return queue.put(item, due: late) }
        if chance.hit(perMillion: rates.append) {
            // An error of fsync: what the disk holds is known only when it is read anew.
            does(.appendFails)
            return end(id, "its journal failed")
        }
        processes[place].inFlight = nil
        do { try disk.append(records, epoch: id) } catch {
            return end(id, "its journal cannot be written: \(error)")
        }
        ledger.wrote(records, of: id)
        drive(id) { $0.written(at: $1) }
    }

    /// False when the process ended over it.
    private func save(_ state: RunState, by id: UInt64) -> Bool {
        if chance.hit(perMillion: rates.save) {
            // The new file is torn; the manifest still names the one before.
            let fault = chance.below(2) == 0 ? Fault.tornCheckpoint : .saveFails
            does(fault)
            end(id, "its checkpoint failed")
            return false
        }
        let former = disk.checkpoint
        do { try disk.write(state) } catch {
            end(id, "its checkpoint cannot be written: \(error)")
            return false
        }
        ledger.saved(state, after: former, process: id)
        for digest in SimulatedDisk.digests(of: state).sorted() {
            ledger.expect(
                disk.blob(digest) != nil, "blobs are durable", "blob \(digest.short) of a checkpoint is missing")
        }
        return true
    }

    private func apply(_ order: UpdateOrder, _ gradients: [[UInt8]], by id: UInt64) {
        ledger.sums(order, gradients, process: id)
        let delay = UInt64(chance.within(3_000...150_000))
        let sum = SimulatedEngine.sum(gradients)
        let former = order.base.momentsDigest.flatMap { disk.blob($0) }
        guard let content = disk.blob(order.base.reference.digest), order.base.momentsDigest == nil || former != nil
        else {
            // A process that was replaced may miss what the next one has taken away, and ends.
            ledger.expect(id != ledger.newest, "blobs are durable", "the base \(order.base) of an update is missing")
            return end(id, "the base of its update is missing")
        }
        let made = SimulatedEngine.advance(
            content: content, moments: former, sum: sum, learningRate: order.learningRate)
        if simulated.refusesOneIn > 0, Fold.of(made.content) % simulated.refusesOneIn == 0 {
            return put(.refused(process: id, order), in: delay)
        }
        let head = AdapterHead(
            reference: AdapterReference(
                name: order.base.reference.name, version: order.base.reference.version + 1,
                digest: disk.put(made.content)),
            momentsDigest: disk.put(made.moments), optimizerSteps: order.base.optimizerSteps + 1)
        let result = UpdateResult(
            head: head, numbers: SimulatedEngine.numbers(order.learningRate, steps: order.base.optimizerSteps),
            gradientDigest: Hashing.digest(of: sum), gradientNorm: 1)
        put(.applied(process: id, order, AppliedUpdate(result: result, gradient: sum)), in: delay)
    }

    // MARK: The end

    private func log(_ entry: LogEntry, by id: UInt64) {
        guard let place = processes.firstIndex(where: { $0.id == id }) else { return }
        processes[place].lastLine = now
        trace("[\(id)] \(entry.scope) \(entry.step.map(String.init) ?? "") \(entry.event) \(Words.short(entry.fields))")
        if entry.event == "waiting" {
            let what = entry.fields.first { $0.key == "for" }?.value
            ledger.expect(isNamed(what), "the log says who waits", "a line waits for \(String(describing: what))")
        }
    }

    /// True when a text names a worker, a role or work of the coordinator itself.
    private func isNamed(_ value: FieldValue?) -> Bool {
        guard case .text(let text)? = value else { return false }
        return text.contains("worker") || text.contains("the update of") || text == "the merge"
            || seats.contains { text.contains($0.name.text) }
    }

    private func finish(_ result: Outcome, by id: UInt64) {
        guard let place = processes.firstIndex(where: { $0.id == id }) else { return }
        trace("coordinator of epoch \(id) finishes: \(result)")
        let farewell = processes[place].desk.farewell()
        for case .send(let message, let peer) in farewell { send(message, to: peer, by: id) }
        switch result {
        case .completed:
            ledger.expect(disk.checkpoint.epoch == id, "fences grow", "epoch \(id) completes under a newer one")
            outcome = result
        case .stopped, .noWorkers: end(id, "\(result)")
        case .failed(let reason):
            ledger.expect(
                !simulated.isExact && !reason.contains("differs from the journal"), "the run goes on", reason)
            end(id, reason)
        }
    }
}

extension Fold {
    static func of(_ bytes: [UInt8]) -> UInt64 {
        var fold = Fold()
        fold.add(Hashing.digest(of: bytes))
        return fold.value
    }
}
