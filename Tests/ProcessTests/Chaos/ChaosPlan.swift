import Foundation

/// SplitMix64 (Steele, Lea, Flood 2014): the same choices for the same seed.
struct ChaosRandom {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// In 0 ..< 1.
    mutating func unit() -> Double { Double(next() >> 11) / Double(1 << 53) }
    mutating func below(_ bound: Int) -> Int { Int(unit() * Double(bound)) }
    mutating func pick<Value>(_ values: [Value]) -> Value { values[below(values.count)] }

    mutating func shuffled<Value>(_ values: [Value]) -> [Value] {
        var values = values
        for index in values.indices.reversed() { values.swapAt(index, below(index + 1)) }
        return values
    }
}

enum Victim: String, CaseIterable {
    case coordinator, rollout, learner
}

/// What happens to a victim.
enum Deed: CustomStringConvertible {
    /// `name:n` with what it does there.
    case failpoint(String, passage: Int, deed: String)
    case kill
    case stop(seconds: Double)
    case terminate
    case link(LinkProxy.Fault, seconds: Double)

    var kind: String {
        switch self {
        case .failpoint(_, _, let deed): "failpoint-" + deed
        case .kill: "SIGKILL"
        case .stop: "SIGSTOP"
        case .terminate: "SIGTERM"
        case .link(let fault, _): "link-" + fault.rawValue
        }
    }

    var description: String {
        switch self {
        case .failpoint(let name, let passage, let deed): "\(name):\(passage):\(deed)"
        case .kill, .terminate: kind
        case .stop(let seconds), .link(_, let seconds): kind + String(format: " %.1f s", seconds)
        }
    }

    /// What `MMED_FAILPOINT` must be.
    var variable: String? {
        guard case .failpoint(let name, let passage, let deed) = self else { return nil }
        return deed == "kill" ? "\(name):\(passage)" : "\(name):\(passage):\(deed)"
    }
}

/// One cycle: a victim, a deed, and when, as a part of the time that an unbroken run takes.
struct Cycle: CustomStringConvertible {
    var victim: Victim
    var deed: Deed
    var moment: Double

    var description: String {
        if case .failpoint = deed { return "\(victim) \(deed)" }
        return "\(victim) \(deed) at \(Int(100 * moment)) %"
    }
}

/// What brings a process to a failpoint that an unbroken run does not pass.
enum Stimulus {
    case nothing
    /// The coordinator is killed first, and the one that goes on is hit.
    case coordinatorWasKilled
    /// The coordinator is asked to stop.
    case coordinatorIsAsked
    /// The victim is asked to stop.
    case victimIsAsked
    /// A worker with another model comes.
    case stranger
    /// A worker's first lease fails.
    case leaseFails

    init(_ name: String) {
        let stimuli: [(String, Stimulus)] = [
            ("epoch-raise", .coordinatorWasKilled), ("folder-set-aside", .coordinatorWasKilled),
            ("introduce-yourself", .coordinatorWasKilled), ("lease-revoked", .coordinatorWasKilled),
            ("blob-missing", .coordinatorWasKilled), ("drain", .coordinatorIsAsked), ("goodbye", .victimIsAsked),
            ("refused", .stranger), ("lease-failed", .leaseFails),
        ]
        self = stimuli.first { name.contains($0.0) }?.1 ?? .nothing
    }
}

/// A failpoint, as `mmed-coord failpoints` lists it, and how often an unbroken run passes it in one process of a role.
struct Failplace {
    var name: String
    var deeds: [String]
    var passages: [Victim: Int]

    /// True when a process of this role can be brought there.
    func concerns(_ victim: Victim) -> Bool {
        if passages[victim, default: 0] > 0 { return true }
        let isCoordinators = !name.hasPrefix("worker-")
        guard Stimulus(name) != .nothing, isCoordinators == (victim == .coordinator) else { return false }
        return true
    }
}

/// All choices of one run: three cycles, one for each role, of which one is at a failpoint.
struct ChaosPlan {
    let index: Int
    let lag: Int
    let rollouts: Int, learners: Int
    let cycles: [Cycle]

    /// The same for the same seed and index. The failpoints of a role come in turn, in an order of the seed's.
    init(seed: UInt64, index: Int, places: [Failplace]) {
        var random = ChaosRandom(seed &+ UInt64(index) &* 0x5851_F42D_4C95_7F2D)
        self.index = index
        lag = random.below(2)
        rollouts = 1 + random.below(3)
        learners = 1 + random.below(2)
        let chosen = Victim.allCases[index % Victim.allCases.count]
        let workers = chosen == .rollout ? rollouts : learners
        var cycles: [Cycle] = []
        for victim in Victim.allCases {
            let deed =
                victim == chosen
                ? ChaosPlan.place(seed, index, victim, places, processes: chosen == .coordinator ? 1 : workers, &random)
                : ChaosPlan.deed(&random)
            cycles.append(Cycle(victim: victim, deed: deed, moment: random.unit()))
        }
        self.cycles = cycles
    }

    private static func place(
        _ seed: UInt64, _ index: Int, _ victim: Victim, _ places: [Failplace], processes: Int,
        _ random: inout ChaosRandom
    ) -> Deed {
        // Each deed at each place.
        let all = places.filter { $0.concerns(victim) }.flatMap { place in
            place.deeds.filter { $0 != "stop" || place.passages[victim, default: 0] > 0 }.map { (place, $0) }
        }
        // Kills come first: a short sitting hits each place so.
        var order = ChaosRandom(seed)
        let shuffled = order.shuffled(all.filter { $0.1 == "kill" }) + order.shuffled(all.filter { $0.1 != "kill" })
        guard !shuffled.isEmpty else { return .kill }
        let (place, deed) = shuffled[index / Victim.allCases.count % shuffled.count]
        // Early and late passages are as likely by their order of magnitude.
        let most = max(1, place.passages[victim, default: 0] / max(1, processes))
        let passage = max(1, Int(exp(random.unit() * log(Double(most) + 1))))
        return .failpoint(place.name, passage: min(passage, most), deed: deed)
    }

    private static func deed(_ random: inout ChaosRandom) -> Deed {
        // Up to more than the silence after which a worker is given up.
        let seconds = 0.05 + 3.5 * random.unit() * random.unit()
        switch random.below(20) {
        case 0..<10: return .kill
        case 10..<13: return .stop(seconds: seconds)
        case 13..<16: return .terminate
        default: return .link(random.pick(LinkProxy.Fault.allCases), seconds: seconds)
        }
    }
}
