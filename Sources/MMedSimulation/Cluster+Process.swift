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
        damageStates()
        var (state, records) = disk.read()
        ledger.read(state, records)
        if restarts > 0 || failedStarts > 0, mutant != .keepsEpoch { state.epoch += 1 }
        restarts += 1
        let kept: Set<Digest>
        do { kept = try disk.begin(state, knowing: records) } catch {
            failedStarts += 1
            trace("a coordinator cannot write its epoch: \(error)")
            return put(.start, in: UInt64(chance.within(200_000...2_000_000)))
        }
        ledger.awake = now
        ledger.started(state.epoch)
        let ports = SimulatedPorts(mutant: mutant)
        if let mutant { records = mutant.twisted(records, state, plan) }
        let store: any StorePort =
            mutant == .ignoresGradientDigest ? TrustingStore(disk: disk, claims: claims) : disk
        let desk = CoordinatorDesk(
            plan: mutant?.twisted(plan) ?? plan, state: state, journal: records, kept: kept,
            modelDigest: SimulatedPlan.model,
            optimizer: ports, reward: ports, store: store)
        // The origin of a clock means nothing, and may be years away from the last one.
        let origin = rates.mischiefMilliseconds > 0 ? chance.word() >> 20 : 0
        if origin > 0 { does(.clockOrigin) }
        let process = SimulatedProcess(id: state.epoch, desk: desk, origin: origin, lastLine: now)
        process.stepsToLive = stepsToLive()
        processes.append(process)
        primary = process.id
        trace("coordinator of epoch \(state.epoch) starts with \(records.count) records")
        put(.tick(process: process.id), in: 0)
    }

    /// Steps until the next kill, so that each step is as likely to meet it.
    private func stepsToLive() -> Int {
        rates.kill == 0 ? .max : 1 + chance.below(2_000_000 / rates.kill)
    }

    /// The process is gone, with all that was only in its memory.
    func end(_ id: UInt64, _ why: @autoclosure () -> String) {
        guard let place = place(of: id) else { return }
        trace("coordinator of epoch \(id) ends: \(why())")
        let process = processes.remove(at: place)
        if let records = process.inFlight {
            // A write under way comes whole to the disk, in part or not at all; nobody hears which.
            if chance.below(2) == 0, (try? disk.append(records, epoch: id)) != nil {
                does(.groupUnheard)
                ledger.wrote(records, of: id)
            } else if chance.below(2) == 0 {
                does(.groupTorn)
                disk.tear(records, after: chance.within(1...records.count), epoch: id)
            } else {
                does(.groupLost)
            }
        }
        for seat in seats.indices where seats[seat].process == id { cut(seat) }
        if processes.isEmpty { put(.start, in: UInt64(chance.within(100_000...1_500_000))) }
        if let other = processes.last { primary = other.id }
    }

    /// Counts a step of a process; true when it is killed at this point. Rare steps weigh more, so that each is met.
    private func isKilled(_ id: UInt64, _ fault: Fault, weight: Int = 1) -> Bool {
        guard let place = place(of: id) else { return true }
        guard rates.kill > 0 else { return false }
        processes[place].stepsToLive -= weight
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
                if isKilled(id, .killBeforeAppend, weight: 20) { return }
                append(records, by: id)
                if isKilled(id, .killAfterAppend, weight: 20) { return }
            case .save(let state):
                if isKilled(id, .killBeforeSave, weight: 100) { return }
                guard save(state, by: id) else { return }
                if isKilled(id, .killAfterSave, weight: 100) { return }
            case .apply(let order, let gradients): apply(order, gradients.map(MemoryScratch.bytes), by: id)
            case .merge(let order):
                let digest = disk.put(SimulatedEngine.merge(order))
                guard let name = Name("merged") else { return }
                put(
                    .merged(process: id, AdapterReference(name: name, version: 0, digest: digest)),
                    in: UInt64(chance.within(5_000...200_000)))
            case .log(let entry): log(entry, by: id)
            case .metric: break
            case .finish(let result): return finish(result, by: id)
            case .fail(let error): return end(id, "it cannot go on: \(error)")
            }
        }
    }

    // MARK: The disk

    private func append(_ records: [JournalRecord], by id: UInt64) {
        guard let place = place(of: id) else { return }
        ledger.expect(processes[place].inFlight == nil, "one group at a time", "a group before the last is written")
        processes[place].inFlight = records
        var microseconds = UInt64(chance.within(200...4_000))
        if slowDiskUntil > now { microseconds += UInt64(chance.within(50_000...1_500_000)) }
        put(.written(process: id), in: microseconds)
    }

    func written(_ id: UInt64, _ item: Item) {
        guard let place = place(of: id), let records = processes[place].inFlight else {
            return
        }
        if let late = whenAwake(id) { return queue.put(item, due: late) }
        if chance.hit(perMillion: rates.append) {
            // An error of fsync: what the disk holds is known only when it is read anew.
            does(.appendFails)
            if mutant != .ignoresFailedSync { return end(id, "its journal failed") }
        } else {
            do { try commit(records, by: id) } catch {
                if error != .full || mutant != .ignoresFullDisk {
                    processes[place].inFlight = nil
                    return end(id, "its journal cannot be written: \(error)")
                }
            }
        }
        processes[place].inFlight = nil
        drive(id) { $0.written(at: $1) }
    }

    /// A group comes to the disk, and the ledger sees what has come there.
    private func commit(_ group: [JournalRecord], by id: UInt64) throws(SimulatedDisk.Refusal) {
        var records = group
        switch mutant {
        case .journalForgets where records.count > 1 && chance.below(20) == 0:
            records.remove(at: chance.below(records.count))
        case .journalRepeats where chance.below(20) == 0: records += group
        case .journalReorders: if let last = records.popLast() { records.insert(last, at: 0) }
        case .trustsWriteCache:
            if let place = place(of: id) { processes[place].cached += records }
            return
        default: break
        }
        try disk.append(records, epoch: id)
        if let place = place(of: id) { keepTime(place) }
        ledger.wrote(records, of: id)
    }

    /// What a disk's cache holds comes to the disk some time later.
    func synchronise(_ id: UInt64) {
        guard let place = place(of: id), !processes[place].cached.isEmpty else { return }
        let records = processes[place].cached
        guard (try? disk.append(records, epoch: id)) != nil else { return }
        processes[place].cached = []
        ledger.wrote(records, of: id)
    }

    /// False when the process ended over it.
    private func save(_ state: RunState, by id: UInt64) -> Bool {
        if chance.hit(perMillion: rates.save) {
            // The new file is torn; the manifest still names the one before.
            let fault = chance.below(2) == 0 ? Fault.tornCheckpoint : .saveFails
            does(fault)
            if fault == .tornCheckpoint { disk.tear(state) }
            end(id, "its checkpoint failed")
            return false
        }
        let former = disk.checkpoint
        if let place = place(of: id) { keepTime(place) }
        do { try disk.write(state) } catch {
            end(id, "its checkpoint cannot be written: \(error)")
            return false
        }
        ledger.saved(state, after: former, process: id)
        for digest in state.blobDigests.sorted() {
            ledger.expect(
                disk.isDurable(digest), "blobs are durable", "blob \(digest.short) of a checkpoint is not on the disk")
        }
        return true
    }

    private func apply(_ order: UpdateOrder, _ gradients: [[UInt8]], by id: UInt64) {
        if let place = place(of: id) { keepTime(place) }
        var (summed, parts) = mutant?.twisted(order, gradients, ledger) ?? (order, gradients)
        if mutant == .sumsQuarantinedGradients { parts = withFirst(parts, of: summed.shards, by: id) }
        ledger.sums(summed, parts, process: id)
        let delay = UInt64(chance.within(3_000...150_000))
        let sum = SimulatedEngine.sum(parts)
        var former = order.base.momentsDigest.flatMap { disk.blob($0) }
        guard var content = disk.blob(order.base.reference.digest), order.base.momentsDigest == nil || former != nil
        else {
            // A process that was replaced may miss what the next one has taken away, and ends.
            ledger.expect(id != ledger.newest, "blobs are durable", "the base \(order.base) of an update is missing")
            return end(id, "the base of its update is missing")
        }
        if mutant == .forgetsMoments { former = nil }
        if mutant == .updatesWrongBase, let older = lastBase[order.base.reference.name] { content = older }
        lastBase[order.base.reference.name] = disk.blob(order.base.reference.digest)
        let made = SimulatedEngine.advance(
            content: content, moments: former, sum: sum, learningRate: order.learningRate)
        if simulated.refusesOneIn > 0, Fold.of(made.content) % simulated.refusesOneIn == 0 {
            return put(.refused(process: id, order), in: delay)
        }
        // Which blobs are newest is in a process's memory: one that was replaced keeps nothing for the next.
        let owner = id == ledger.newest ? order.base.reference.name : nil
        let head = AdapterHead(
            reference: AdapterReference(
                name: order.base.reference.name, version: order.base.reference.version + 1,
                digest: disk.put(made.content, of: owner)),
            momentsDigest: disk.put(made.moments, of: owner),
            optimizerSteps: order.base.optimizerSteps + 1)
        let result = UpdateResult(
            head: head, numbers: SimulatedEngine.numbers(order.learningRate, steps: order.base.optimizerSteps),
            gradientDigest: Hashing.digest(of: sum), gradientNorm: 1)
        put(.applied(process: id, order, AppliedUpdate(result: result, gradient: MemoryScratch(sum))), in: delay)
    }

    // MARK: The end

    private func log(_ entry: LogEntry, by id: UInt64) {
        guard let place = place(of: id) else { return }
        processes[place].lastLine = now
        trace("[\(id)] \(entry.scope) \(entry.step.map(String.init) ?? "") \(entry.event) \(Words.short(entry.fields))")
        if entry.event == "worker-left" { gaveUp(entry, by: id) }
        if entry.event == "waiting" {
            let what = entry.fields.first { $0.key == "for" }?.value
            ledger.expect(isNamed(what), "the log says who waits", "a line waits for \(String(describing: what))")
        }
    }

    private func gaveUp(_ entry: LogEntry, by id: UInt64) {
        func text(_ key: String) -> String? {
            for field in entry.fields where field.key == key { if case .text(let text) = field.value { return text } }
            return nil
        }
        guard let place = place(of: id), let name = text("worker").flatMap({ Name($0) }), let reason = text("reason"),
            reason.hasPrefix("no sign of life")
        else { return }
        let since = now - processes[place].slept - (processes[place].heardAt[name] ?? 0)
        let silence = max(since, processes[place].silences.removeValue(forKey: name) ?? 0)
        ledger.expect(
            silence >= shortestSilence, "pauses are nobody's fault",
            "\(name) was heard \(silence / 1_000) ms ago: \(reason)")
    }

    /// Microseconds without a word after which a worker may be given up, as seen from outside.
    var shortestSilence: UInt64 {
        let limit = plan.settings.beatMilliseconds * plan.settings.silentBeats * 1_000
        return limit - min(limit, 2_200_000)
    }

    /// True when a text names a worker, a role or work of the coordinator itself.
    private func isNamed(_ value: FieldValue?) -> Bool {
        guard case .text(let text)? = value else { return false }
        return text.contains("worker") || text.contains("the update of") || text == "the merge"
            || seats.contains { text.contains($0.name.text) }
    }

    private func finish(_ result: Outcome, by id: UInt64) {
        guard let place = place(of: id) else { return }
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
