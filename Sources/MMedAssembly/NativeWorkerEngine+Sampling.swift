import MMedAlgorithms
import MMedCore
import MMedEngine
import MMedProtocol
import Synchronization

// Sampling behind the worker's port.
extension NativeWorkerEngine {
    func sample(
        _ lease: RolloutLease, seed: UInt64, isCancelled: @escaping @Sendable () -> Bool,
        onFinished: @escaping @Sendable (Trajectory) -> Void
    ) async throws {
        try await thread.run {
            try self.sampleAll(lease, seed: seed, isCancelled: isCancelled, onFinished: onFinished)
        }
    }

    private func sampleAll(
        _ lease: RolloutLease, seed: UInt64, isCancelled: () -> Bool, onFinished: (Trajectory) -> Void
    ) throws {
        var adapters: [AdapterReference] = []
        var requests: [SampleRequest] = []
        var origins: [(question: Int, slot: SlotID)] = []
        for (index, question) in lease.questions.enumerated() {
            var place: Int?
            if let reference = question.adapter {
                if !adapters.contains(reference) { adapters.append(reference) }
                place = adapters.firstIndex(of: reference)
            }
            let probe =
                question.reward.probeChoices
                ? try host.tokenizer.choiceProbe(optionCount: question.reward.options.count) : nil
            for slot in question.slots {
                requests.append(
                    SampleRequest(
                        slotKey: slot.randomKey(seed: seed), prefixIds: question.prefixIds,
                        suffixIds: question.suffixIds[Int(slot.guideline)], adapter: place,
                        temperature: Float(question.sampling.temperature), topK: question.sampling.topK,
                        topP: Float(question.sampling.topP), maxTokens: question.sampling.maxTokens,
                        stopTokenIds: stopTokenIds, choiceProbe: probe))
                origins.append((index, slot))
            }
        }
        sampler.adapters = try adapters.map { try require($0) }
        let judge = RewardJudge(tokenizer: host.tokenizer)
        var failure: (any Error)?
        _ = try sampler.sample(
            requests,
            isCancelled: {
                // The check comes once for each pass, so it also tells that the engine is alive.
                self.tokens.add(1, ordering: .relaxed)
                return isCancelled()
            },
            onFinished: { index, result in
                let (question, slot) = (lease.questions[origins[index].question], origins[index].slot)
                var path = Trajectory(
                    slot: slot, version: question.adapter?.version ?? -1, adapterDigest: question.adapter?.digest,
                    completionIds: result.completionIds, logprobs: result.logprobs,
                    stop: result.stopReason == .endToken ? .endToken : .budget,
                    choiceLogprobs: result.choiceLogprobs ?? [], reward: 0)
                do {
                    path.reward = try judge.judge(path, task: question.reward).total
                    onFinished(path)
                } catch {
                    failure = error
                }
            })
        if let failure { throw failure }
    }
}
