import MMedAlgorithms
import MMedCore
import MMedProtocol
import Testing

@testable import MMedCodec

@Suite("Every field is checked by sender and receiver")
struct FieldRuleTests {
    /// The sender refuses the message, and the receiver refuses the frame that a careless sender makes of it.
    private func expectRefused(_ message: WorkerMessage, _ note: String) throws {
        #expect(throws: CodecError.self, "\(note)") { try MessageCodec.encode(message) }
        let frame = try MessageCodec.frame(message, sequence: 0)
        #expect(throws: CodecError.self, "\(note)") { try MessageCodec.decodeWorkerMessage(frame) }
    }

    private func expectRefused(_ message: CoordinatorMessage, _ note: String) throws {
        #expect(throws: CodecError.self, "\(note)") { try MessageCodec.encode(message) }
        let frame = try MessageCodec.frame(message, sequence: 0)
        #expect(throws: CodecError.self, "\(note)") { try MessageCodec.decodeCoordinatorMessage(frame) }
    }

    @Test("trajectories")
    func trajectories() throws {
        var draw = Draw(seed: 21)
        let good = draw.trajectory()
        let changes: [(String, (inout Trajectory) -> Void)] = [
            ("NaN", { $0.logprobs[0] = .nan }), ("infinite", { $0.logprobs[0] = -.infinity }),
            ("above 0", { $0.logprobs[0] = 0.5 }), ("NaN choice", { $0.choiceLogprobs = [.nan] }),
            ("one short", { $0.logprobs.removeLast() }), ("NaN reward", { $0.reward = .nan }),
            ("infinite reward", { $0.reward = .infinity }),
            ("no digest", { ($0.version, $0.adapterDigest) = (3, nil) }),
            ("version", { $0.version = -2 }), ("negative token", { $0.completionIds[0] = -1 }),
            ("huge token", { $0.completionIds[0] = Limits.vocabulary }), ("slot", { $0.slot.sample = -1 }),
            ("no tokens", { ($0.completionIds, $0.logprobs) = ([], []) }),
            ("choices", { $0.choiceLogprobs = [Float](repeating: -1, count: 27) }),
        ]
        for (note, change) in changes {
            var bad = good
            change(&bad)
            try expectRefused(.trajectories(draw.lease(), [good, bad]), note)
        }
    }

    @Test("rollout leases")
    func rollouts() throws {
        var draw = Draw(seed: 22)
        let good = draw.question()
        let changes: [(String, (inout QuestionWork) -> Void)] = [
            ("guideline", { $0.slots[0].guideline = Int32($0.suffixIds.count) }), ("no slots", { $0.slots = [] }),
            ("answer", { $0.reward.answerIndex = $0.reward.options.count }), ("no options", { $0.reward.options = [] }),
            ("top-p", { $0.sampling.topP = 0 }), ("NaN top-p", { $0.sampling.topP = .nan }),
            ("temperature", { $0.sampling.temperature = -1 }), ("budget", { $0.sampling.maxTokens = 0 }),
            ("bonus", { $0.reward.formatBonus = 0.3 }),
            ("empty prompt", { ($0.prefixIds, $0.suffixIds[0]) = ([], []) }),
        ]
        for (note, change) in changes {
            var bad = good
            change(&bad)
            let lease = RolloutLease(lease: draw.lease(), durationMilliseconds: 1000, questions: [good, bad])
            try expectRefused(.rollout(lease), note)
        }
        try expectRefused(
            .rollout(RolloutLease(lease: draw.lease(), durationMilliseconds: 0, questions: [good])), "time")
        try expectRefused(.rollout(RolloutLease(lease: draw.lease(), durationMilliseconds: 9, questions: [])), "empty")
    }

    @Test("gradient leases")
    func gradients() throws {
        var draw = Draw(seed: 23)
        let good = draw.gradientLease()
        let changes: [(String, (inout GradientLease) -> Void)] = [
            ("suffix", { $0.microbatches[0][0].tree.paths[0].suffix = 99 }),
            ("logprobs", { $0.microbatches[0][0].targets[0].rollLogprobs.append(-1) }),
            (
                "NaN prox",
                { lease in
                    let count = lease.microbatches[0][0].tree.paths[0].completionIds.count
                    lease.microbatches[0][0].targets[0].proxLogprobs = [Float](repeating: .nan, count: count)
                }
            ),
            ("advantage", { $0.microbatches[0][0].targets[0].advantage = .infinity }),
            ("weight", { $0.microbatches[0][0].targets[0].weight = .nan }), ("temperature", { $0.temperature = 0 }),
            ("k1", { $0.objective = .policy(LossSettings(klCoefficient: 0.1, klEstimator: .k1)) }),
            ("truncation", { $0.objective = .policy(LossSettings(truncation: .nan)) }),
            ("empty", { $0.microbatches = [] }), ("empty microbatch", { $0.microbatches.append([]) }),
            ("shard", { $0.shard.shard = .max }),
        ]
        for (note, change) in changes {
            var bad = good
            change(&bad)
            try expectRefused(.gradient(bad), note)
        }
        var unequal = good
        unequal.microbatches[0][0].targets.removeLast()
        #expect(throws: CodecError.self) { try MessageCodec.encode(.gradient(unequal)) }
    }

    @Test("chunks, updates and introductions")
    func rest() throws {
        var draw = Draw(seed: 24)
        let digest = draw.digest()
        try expectRefused(.blobChunk(digest, offset: 8, totalBytes: 10, bytes: [1, 2, 3]), "past the end")
        try expectRefused(.blobChunk(digest, offset: 0, totalBytes: 10, bytes: []), "empty")
        let large = [UInt8](repeating: 1, count: Limits.blobChunkBytes + 1)
        try expectRefused(.blobChunk(digest, offset: 0, totalBytes: large.count, bytes: large), "large")
        let chunk = GradientChunk(
            lease: draw.lease(), shard: draw.shard(), offset: 2, totalBytes: 8, digest: digest, bytes: [0, 0, 0, 0],
            statistics: draw.statistics())
        try expectRefused(.gradientChunk(chunk), "half numbers")
        // Two of them would overflow the coordinator's sum, which ends its process.
        let figures: [(String, WritableKeyPath<ShardStatistics, Int>)] = [
            ("tokens", \.computedTokens), ("loss tokens", \.lossTokens), ("clipped", \.clippedTokens),
            ("time", \.computeMilliseconds),
        ]
        for (note, figure) in figures {
            for value in [Int.max, Limits.shardFigure + 1, -1] {
                var bad = chunk
                bad.offset = 4
                bad.statistics[keyPath: figure] = value
                // A negative number cannot even be written.
                if value >= 0 { try expectRefused(.gradientChunk(bad), note) }
                #expect(throws: CodecError.self) { try MessageCodec.encode(.gradientChunk(bad)) }
            }
        }
        let base = draw.reference(draw.name(), version: 4)
        let numbers = UpdateNumbers(
            learningRate: 0.1, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0, biasCorrection1: 0.1,
            biasCorrection2: 0.1, clipFactor: 1)
        var update = UpdateAnnouncement(
            base: base, result: base, numbers: numbers, gradientDigest: digest, momentsDigest: digest)
        try expectRefused(.update(update), "no progress")
        update.result.version = 5
        update.numbers.clipFactor = .nan
        try expectRefused(.update(update), "NaN clip factor")
        try expectRefused(.ready(credits: Limits.credits + 1), "credits")
        let welcome = Welcome(run: base.name, seed: 1, beatMilliseconds: 0, adapters: [])
        try expectRefused(.welcome(welcome), "beat")
    }

    @Test("names that would leave their folder are no names")
    func names() throws {
        let hello = Hello(
            role: .rollout, name: Draw.plainName, instance: 1,
            modelDigest: Digest(bytes: [UInt8](repeating: 1, count: 32))
                .unsafelyUnwrapped, threads: 1, adapters: [], host: "h", processID: 1)
        let frame = try MessageCodec.encode(.hello(hello))
        let payload = Array(frame[32...])
        // Field 2 (the name) is tag 0x12, length 1, "a".
        let at = try #require((0..<payload.count - 2).first { Array(payload[$0..<$0 + 3]) == [0x12, 1, 0x61] })
        for name in ["../x", "..", "/etc", "a..b", "A", "", "a/b", "a\u{0}", "é", String(repeating: "a", count: 65)] {
            let bytes = Array(name.utf8)
            let changed = payload[..<at] + [0x12, UInt8(bytes.count)] + bytes + payload[(at + 3)...]
            var bad = [UInt8](repeating: 0, count: 32) + changed
            let header = FrameHeader(
                type: 1, rawLength: UInt32(changed.count), storedLength: UInt32(changed.count), sequence: 0,
                payloadChecksum: FrameHeader.checksum(bad[32...]))
            header.write(to: &bad)
            #expect(throws: CodecError.self, "\(name)") { try MessageCodec.decodeWorkerMessage(bad) }
        }
    }

    @Test("oversize is refused before it is sent")
    func oversize() {
        var draw = Draw(seed: 25)
        var path = draw.trajectory()
        path.completionIds = (0..<Limits.sequenceTokens).map { _ in Int32(draw.int(0...40_000)) }
        path.logprobs = [Float](repeating: -1, count: path.completionIds.count)
        let message = WorkerMessage.trajectories(draw.lease(), [Trajectory](repeating: path, count: 9))
        #expect(throws: CodecError.self) { try MessageCodec.encode(message) }
    }

    @Test("limits agree with each other")
    func limits() {
        #expect(Limits.gradientChunkBytes + 4096 < Limits.payloadBytes)
        #expect(Limits.blobChunkBytes + 4096 < Limits.payloadBytes)
        #expect(Limits.blobChunkBytes * Limits.blobRequestsOutstanding <= Limits.peerQueueBytes)
        #expect(Limits.frameBytes <= Limits.workerQueueBytes && Limits.frameBytes <= Limits.peerQueueBytes)
        #expect(Limits.shardFigure.multipliedReportingOverflow(by: 1 << 20).overflow == false)
        #expect(Limits.paths * 24 < Limits.payloadBytes)
        #expect(Limits.leasesPerBeat * 8 < Limits.payloadBytes)
        #expect(Limits.frameBytes < Limits.decodeArenaBytes)
        #expect(Limits.highWaterMark * Limits.blobChunkBytes >= Limits.blobChunkBytes * Limits.blobRequestsOutstanding)
    }

    /// The rules look at many values at once; one at a time is the definition.
    @Test func anyWrongValueIsFoundWhereverItStands() throws {
        let seed: UInt64 = 31
        var draw = Draw(seed: seed)
        let special: [Float] = [
            .nan, -.nan, .signalingNaN, .infinity, -.infinity, 0, -0.0, Limits.logprobExcess,
            Limits.logprobExcess.nextUp,
            .leastNonzeroMagnitude, -.greatestFiniteMagnitude, .greatestFiniteMagnitude, -1,
        ]
        for round in 0..<4_000 {
            let bits = UInt32(truncatingIfNeeded: draw.int(0...Int(UInt32.max)))
            let value = round < 400 ? special[round % special.count] : Float(bitPattern: bits)
            var values = draw.logprobs(draw.int(1...40))
            let place = draw.int(0...(values.count - 1))
            values[place] = value
            let isWrong = !value.isFinite || value > Limits.logprobExcess
            #expect(
                isThrown { () throws(CodecError) in try Check.logprobs(values, "x") } == isWrong,
                "seed \(seed): \(value) at \(place) of \(values.count)")
            var ids = values.indices.map { Int32($0) }
            ids[place] = Int32(bitPattern: round % 2 == 0 ? bits : bits >> 7)
            let isToken = ids[place] >= 0 && ids[place] < Limits.vocabulary
            #expect(
                isThrown { () throws(CodecError) in try Check.tokens(ids, "x") } != isToken,
                "seed \(seed): \(ids[place]) at \(place)")
        }
    }

    private func isThrown(_ body: () throws(CodecError) -> Void) -> Bool {
        do {
            try body()
            return false
        } catch { return true }
    }
}
