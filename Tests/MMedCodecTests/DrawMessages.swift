import MMedAlgorithms
import MMedCore
import MMedProtocol

extension Draw {
    /// One message of each kind a worker sends.
    mutating func workerMessages() -> [WorkerMessage] {
        let total = int(1...1000) * 4
        let offset = int(0...(total / 4 - 1)) * 4
        let content = list(1...1) { _ in 0 }.count * 4
        return [
            .hello(
                Hello(
                    role: choice(WorkerRole.allCases), name: name(), instance: word(), modelDigest: digest(),
                    threads: int(1...64), adapters: list(0...4) { $0.name() }, host: text(), processID: index())),
            .ready(credits: int(0...16)),
            .trajectories(lease(), list(0...12) { $0.trajectory() }),
            .gradientChunk(
                GradientChunk(
                    lease: lease(), shard: shard(), offset: offset, totalBytes: total + content, digest: digest(),
                    bytes: (0..<content).map { _ in byte() }, statistics: statistics())),
            .leaseFailed(lease(), reason: text()),
            .updateApplied(reference()),
            .canary(CanaryReport(adapter: maybe { $0.reference() }, logprob: number(-200...0))),
            .blobRequest(digest(), offset: int(0...1_000_000)),
            .beat(
                Beat(
                    phase: choice([.idle, .loading, .sampling, .differentiating, .updating, .draining]),
                    progress: word(), leases: list(0...5) { $0.lease() })),
            .goodbye(reason: text()),
        ]
    }

    /// One message of each kind the coordinator sends.
    mutating func coordinatorMessages() -> [CoordinatorMessage] {
        let name = self.name()
        let bytes = list(1...2000) { $0.bool() ? 0 : $0.byte() }
        return [
            .welcome(
                Welcome(
                    run: self.name(), seed: word(), beatMilliseconds: int(1...10_000), adapters: adapters(),
                    canaryIds: list(0...Limits.canaryTokens) { Int32($0.int(0...49_151)) })),
            .refused(reason: text(), mend: text()),
            .introduceYourself,
            .rollout(
                RolloutLease(
                    lease: lease(), durationMilliseconds: int(1...100_000), questions: list(1...5) { $0.question() })),
            .gradient(gradientLease()),
            .trajectoriesRecorded(lease(), list(0...30) { $0.slot() }),
            .gradientReceived(lease(), bytes: int(0...1_000_000)),
            .leaseRevoked(lease(), reason: text()),
            .update(
                UpdateAnnouncement(
                    base: reference(name, version: 3), result: reference(name, version: 4), numbers: numbers(),
                    gradientDigest: digest(), momentsDigest: digest())),
            .blobChunk(digest(), offset: 512, totalBytes: 512 + bytes.count, bytes: bytes),
            .blobMissing(digest()),
            .drain,
            .end(reason: text()),
        ]
    }

    mutating func gradientLease() -> GradientLease {
        GradientLease(
            lease: lease(), durationMilliseconds: int(1...100_000), shard: shard(), adapter: reference(),
            reference: maybe { $0.reference() }, prox: maybe { $0.reference() },
            objective: bool() ? .supervised : .policy(loss()), temperature: number(0.1...2),
            microbatches: list(1...3) { draw in draw.list(1...3) { $0.tree() } })
    }

    private mutating func adapters() -> [AdapterDescription] {
        list(0...4) { $0.index() }.enumerated().map { place, _ in
            let settings = AdapterSettings(
                rank: int(1...64), alpha: number(0.5...64), rankStabilised: bool(),
                targets: [choice(Projection.allCases), choice(Projection.allCases)])
            return AdapterDescription(name: Name("adapter-\(place)") ?? Draw.plainName, settings: settings)
        }
    }

    private mutating func numbers() -> UpdateNumbers {
        UpdateNumbers(
            learningRate: number(0...1), beta1: number(0...0.99), beta2: number(0...0.99), epsilon: number(0...1e-6),
            weightDecay: number(0...1), biasCorrection1: number(0.01...1), biasCorrection2: number(0.01...1),
            clipFactor: number(0...1))
    }
}
