import MMedCodec
import MMedCoordinator
import MMedCore
import MMedProtocol
import MMedScheduling

// What a lying worker says in the place of, or beside, what it should. No lie here may change a run's result; a made-up
// path that is well formed is not among them, since only scoring it again would find it.
extension Cluster {
    func lie(_ seat: Int, instead message: WorkerMessage) {
        switch message {
        case .trajectories(let lease, let paths): lie(seat, lease, paths)
        case .gradientChunk(let chunk): lie(seat, chunk)
        case .beat(let beat):
            say(message, seat)
            lieInPassing(seat, beat)
        case .updateApplied(var reference):
            does(.lieReplica)
            reference.digest = Hashing.digest(of: [2])
            say(.updateApplied(reference), seat)
        default: say(message, seat)
        }
    }

    /// Past the codec, which would stop it: the coordinator's own checks must too.
    private func sayBare(_ message: WorkerMessage, _ seat: Int) {
        guard let peer = seats[seat].connection else { return }
        let due = max(now + 300, seats[seat].upFree, seats[seat].upBlockedUntil)
        seats[seat].upFree = due
        queue.put(.toCoordinator(seat: seat, peer, .bare(message)), due: due)
    }

    private func lie(_ seat: Int, _ lease: LeaseID, _ paths: [Trajectory]) {
        guard var path = paths.first else { return }
        switch chance.below(9) {
        case 0:
            does(.lieDigest)
            path.version += 1
            if var work = ledger.work[path.slot], work.adapter != nil {
                // What another version truly makes of the same prompt.
                work.adapter?.digest = Hashing.digest(of: [3])
                work.adapter?.version += chance.below(2)
                path = SimulatedEngine.path(path.slot, work, seed: plan.seed)
            }
            sayBare(.trajectories(lease, [path]), seat)
        case 1:
            does(.lieLength)
            switch chance.below(3) {
            case 0: path.logprobs.append(-1)
            case 1: (path.completionIds, path.logprobs) = ([], [])
            default:
                path.completionIds = Array(repeating: 1, count: 40)
                path.logprobs = Array(repeating: -1, count: 40)
            }
            sayBare(.trajectories(lease, [path]), seat)
        case 2:
            does(.lieNotFinite)
            path.logprobs[0] = chance.below(2) == 0 ? .nan : 3
            sayBare(.trajectories(lease, [path]), seat)
        case 3:
            does(.lieReward)
            path.reward = [.nan, .infinity, 1e300, -5][chance.below(4)]
            // A finite one is recomputed, and not believed.
            if path.reward.isFinite {
                say(.trajectories(lease, [path]), seat)
            } else {
                sayBare(.trajectories(lease, [path]), seat)
            }
        case 4:
            does(.lieStaleLease)
            let fence = LeaseID(fence: lease.fence &- UInt64(1 + chance.below(20)))
            sayBare(.trajectories(fence, paths), seat)
        case 5:
            path.slot.question = Int32(chance.below(6))
            path.slot.sample = Int32(chance.below(4))
            let fence = LeaseID(fence: lease.fence &- UInt64(chance.below(3)))
            // Of a slot that nobody was asked for yet it could only invent a path, which is for checks to find.
            guard let work = ledger.work[path.slot] else { return }
            does(.lieForeignSlot)
            // The path that is asked for, under a right that is not its own.
            sayBare(.trajectories(fence, [SimulatedEngine.path(path.slot, work, seed: plan.seed)]), seat)
        case 6:
            does(.lieContradiction)
            // In one message, so that the true one is surely the first.
            var other = path
            other.completionIds[0] = (path.completionIds[0] + 1) % 1_000
            say(.trajectories(lease, [path, other]), seat)
        case 7:
            does(.lieBlob)
            path.completionIds[0] = 5_000
            say(.trajectories(lease, [path]), seat)
        default:
            does(.lieFailure)
            say(.leaseFailed(lease, reason: "it says so"), seat)
        }
    }

    private func lie(_ seat: Int, _ chunk: GradientChunk) {
        var chunk = chunk
        switch chance.below(5) {
        case 0:
            does(.lieGradientShape)
            chunk.totalBytes += 4 * chance.within(1...100)
        case 1:
            does(.lieGradientDigest)
            chunk.bytes[0] ^= 1
        case 2:
            does(.lieGradientNotFinite)
            // A digest that fits, and an infinity.
            if let whole = seats[seat].worker?.unreceived[chunk.lease] {
                var bytes = whole.bytes
                bytes.replaceSubrange(0..<4, with: [0, 0, 0x80, 0x7F])
                return say(
                    .gradientChunk(
                        GradientChunk(
                            lease: chunk.lease, shard: chunk.shard, offset: 0, totalBytes: bytes.count,
                            digest: Hashing.digest(of: bytes), bytes: bytes, statistics: chunk.statistics)), seat)
            }
        case 3:
            does(.lieChunkOrder)
            if chunk.offset >= 64 { chunk.offset -= 64 }
        default:
            does(.lieStaleLease)
            chunk.lease = LeaseID(fence: chunk.lease.fence &- UInt64(1 + chance.below(12)))
        }
        say(.gradientChunk(chunk), seat)
    }

    /// Beside an honest beat.
    private func lieInPassing(_ seat: Int, _ beat: Beat) {
        switch chance.below(7) {
        case 0:
            guard let old = chance.pick(overheard) else { return }
            if case .hello = old { return }
            if case .goodbye = old { return }
            does(.lieReplay, "\(seats[seat].name) says again \(Words.short(old))")
            sayBare(old, seat)
        case 1:
            does(.lieBeat)
            let foreign = ledger.grants.values.max() ?? LeaseID(fence: 1)
            let leases = (0..<5).map { LeaseID(fence: foreign.fence &- UInt64($0)) }
            say(.beat(Beat(phase: .sampling, progress: beat.progress + 1_000, leases: leases)), seat)
        case 2:
            does(.lieCredits)
            say(.ready(credits: 1_024), seat)
        case 3:
            does(.lieBlob)
            say(.blobRequest(Hashing.digest(of: [4]), offset: chance.below(1 << 20)), seat)
        case 4:
            does(.lieRole)
            lieRole(seat)
        case 5:
            does(.lieFailure)
            let foreign = ledger.grants.values.max() ?? LeaseID(fence: 1)
            say(.leaseFailed(foreign, reason: "not mine"), seat)
        default: lieStranger(seat)
        }
    }

    /// A rollout worker sends a gradient, a learner a path of an earlier coordinator's lease.
    private func lieRole(_ seat: Int) {
        if seats[seat].role == .learner {
            // The smallest: the order of a dictionary differs from process to process.
            guard let slot = ledger.work.keys.filter({ ledger.paths[$0] == nil }).min(), let work = ledger.work[slot]
            else { return }
            let path = SimulatedEngine.path(slot, work, seed: plan.seed)
            sayBare(.trajectories(LeaseID(fence: 1), [path]), seat)
        } else {
            guard let shard = ledger.shards.values.max(by: { $0.lease.lease < $1.lease.lease })?.lease else { return }
            let bytes = SimulatedEngine.gradient(shard)
            say(
                .gradientChunk(
                    GradientChunk(
                        lease: shard.lease, shard: shard.shard, offset: 0, totalBytes: bytes.count,
                        digest: Hashing.digest(of: bytes), bytes: bytes, statistics: ShardStatistics())), seat)
        }
    }

    /// A connection that says much before it says who it is, or that it has another model.
    private func lieStranger(_ seat: Int) {
        guard let process = processes.last, process.pausedUntil <= now else { return }
        connections += 1
        let peer = PeerID(number: connections)
        if chance.below(2) == 0 {
            does(.lieStranger)
            for _ in 0..<4 {
                drive(process.id) { desk, tick in
                    desk.take(.message(peer, .beat(Beat(phase: .idle, progress: 1, leases: []))), at: tick)
                }
            }
        } else if var hello = seats[seat].worker?.hello, let name = Name("stranger-\(connections)") {
            does(.lieModel)
            hello.name = name
            hello.modelDigest = Hashing.digest(of: [9])
            let (answer, _) = twisted(.hello(hello), from: seat, peer, by: process.id)
            drive(process.id) { $0.take(.message(peer, answer), at: $1) }
            ledger.expect(
                processes.last?.desk.core.hello(of: name) == nil, "handshake", "\(name) has another model and is in")
        }
    }
}
