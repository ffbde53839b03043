import MMedCore
import MMedProtocol

@testable import MMedScheduling

/// A worker that returns what its engine did not compute.
struct Cheat {
    enum Kind: Sendable, CaseIterable {
        /// Another log-prob for the first token.
        case logprobs
        /// Another first token.
        case tokens
        /// Another gradient.
        case gradient
    }
    let kind: Kind
    /// It lies about so many of a thousand; the slot or shard decides, so that it always says the same.
    var perMille: UInt64 = 1_000

    func lies(about subject: CheckSubject) -> Bool {
        var bytes = Bytes()
        bytes.add("\(subject)")
        return stableHash(bytes.all) % 1_000 < perMille
    }

    func path(_ truth: Trajectory) -> Trajectory {
        guard lies(about: .path(truth.slot)) else { return truth }
        var path = truth
        switch kind {
        case .logprobs: path.logprobs[0] -= 0.001
        case .tokens: path.completionIds[0] += 1
        case .gradient: break
        }
        return path
    }

    func gradient(_ truth: Digest, of shard: ShardID) -> Digest {
        guard kind == .gradient, lies(about: .shard(shard)) else { return truth }
        var bytes = Bytes()
        bytes.all = truth.bytes
        return bytes.digest
    }
}

extension FakeCluster {
    /// All processors are of one kind.
    static func canary(of name: Name) -> Event { .canary(name, CanaryReport(adapter: nil, logprob: -40)) }

    /// The bytes of a gradient are held by shard, as they would be once their lease is looked at; those of a check are not.
    mutating func hold(_ event: Event) {
        guard case .gradient(let name, let lease, let shard, _, let digest?) = event,
            core.awaits(shard, under: lease, from: name), !core.isCheck(lease, of: name)
        else { return }
        gradients[shard] = digest
    }

    func isChecking(_ path: Trajectory, _ lease: LeaseID, _ name: Name) -> Bool {
        core.isCheck(lease, of: name) && core.spot.open[.path(path.slot)]?.lease == lease
    }

    /// Who was caught, in order.
    var caught: [Name] {
        journal.compactMap { record in
            if case .quarantine(let worker) = record { worker.worker } else { nil }
        }
    }
}
