import MMedCore
import MMedProtocol
import MMedScheduling

// Work outside of the actor, which reports back with an event.
extension Coordinator {
    func apply(_ order: UpdateOrder) {
        guard let parts = gradients.gradients(of: order.shards) else {
            preconditionFailure("the core ordered an update before all of its shards were here")
        }
        let optimizer = ports.optimizer
        jobs.yield { [weak self] in
            do {
                let applied = try await optimizer.apply(order, gradients: parts)
                await self?.finished(order, applied)
            } catch let error as NonFiniteUpdate {
                await self?.refused(order, error.description)
            } catch {
                await self?.failed(error)
            }
        }
    }

    private func finished(_ order: UpdateOrder, _ applied: AppliedUpdate) {
        recentGradients.append((applied.result.gradientDigest, applied.gradient))
        // A learner pulls a gradient right after the announcement; one that is slower pulls the whole state instead.
        let kept = 2 * max(1, core.plan.adapters.count)
        if recentGradients.count > kept { recentGradients.removeFirst(recentGradients.count - kept) }
        feed(.updateCommitted(order, applied.result))
    }

    private func refused(_ order: UpdateOrder, _ reason: String) { feed(.updateRefused(order, reason: reason)) }

    func failed(_ error: any Error) { failure = error }

    func merge(_ order: MergeOrder) {
        let port = ports.merge
        jobs.yield { [weak self] in
            do {
                let merged = try await port.merge(order)
                await self?.feedMerged(merged)
            } catch {
                await self?.failed(error)
            }
        }
    }

    private func feedMerged(_ reference: AdapterReference) { feed(.merged(reference)) }
}
