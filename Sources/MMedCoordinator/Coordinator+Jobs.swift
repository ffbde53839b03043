import MMedCore
import MMedProtocol
import MMedScheduling

// Work outside of the actor, which reports back to the desk.
extension Coordinator {
    func append(_ records: [JournalRecord]) {
        let journal = ports.journal
        jobs.yield { [weak self] in
            do {
                try await journal.append(records)
                await self?.written()
            } catch {
                await self?.failed(error)
            }
        }
    }

    private func written() {
        perform(desk.written(at: now()))
        wakeListener()
    }

    func apply(_ order: UpdateOrder, _ gradients: [any ScratchBytes]) {
        let optimizer = ports.optimizer
        jobs.yield { [weak self] in
            do {
                let applied = try await optimizer.apply(order, gradients: gradients)
                await self?.finished(order, applied)
            } catch let error as NonFiniteUpdate {
                await self?.refused(order, error.description)
            } catch {
                await self?.failed(error)
            }
        }
    }

    private func finished(_ order: UpdateOrder, _ applied: AppliedUpdate) {
        perform(desk.finished(order, applied, at: now()))
    }

    private func refused(_ order: UpdateOrder, _ reason: String) {
        perform(desk.refused(order, reason: reason, at: now()))
    }

    private func failed(_ error: any Error) { if failure == nil { failure = error } }

    func merge(_ order: MergeOrder) {
        let port = ports.merge
        jobs.yield { [weak self] in
            do {
                let merged = try await port.merge(order)
                await self?.merged(merged)
            } catch {
                await self?.failed(error)
            }
        }
    }

    private func merged(_ reference: AdapterReference) { perform(desk.merged(reference, at: now())) }
}
