// The bodies' field names are the file format and what the views read.

struct SessionBody: Codable {
    var epoch: UInt64
}

struct PathBody: Codable {
    var specialty: String, question: String, prompt: String, worker: String
    var fence: UInt64, sentUnder: UInt64
    var version: Int
    var digest: String?
    var tokens: Int, stop: Int32, choices: Int
    /// What the worker said the reward is.
    var claimed: Double
    var reward: Double
    var strict: Bool, lenient: Bool
    var strictOption: Int?, lenientOption: Int?
}

struct DropBody: Codable {
    var question: String
    var worker: String?
    var fence: UInt64?
    var reason: String
    var givenUp: Bool
    /// Nil is false: the form of most drops.
    var voided: Bool?
}

struct QuarantineBody: Codable {
    var worker: String, party: String
    /// Z85; nil without keys.
    var key: String?
    var role: String, reason: String
}

struct GroupsBody: Codable {
    struct Member: Codable {
        var question: Int32, guideline: Int32, sample: Int32
        var update: Int?
        var advantage: Double
        var use: String
    }
    var members: [Member]
}

struct UpdateBody: Codable {
    var adapter: String
    var version: Int, update: Int
    var digest: String, base: String
    var baseVersion: Int
    var moments: String?
    var optimizerSteps: Int
    var learningRate: Double, beta1: Double, beta2: Double, epsilon: Double, weightDecay: Double
    var biasCorrection1: Double, biasCorrection2: Double, clipFactor: Double
    var gradient: String
    var gradientNorm: Double
    var examples: [String]
}

struct MergeBody: Codable {
    struct Expert: Codable {
        var specialty: String
        var supervised: ReferenceRecord?, reinforced: ReferenceRecord?
    }
    var adapter: String
    var version: Int
    var digest: String
    var experts: [Expert]
    /// Digests of all of them, for the views.
    var inputs: [String]
}
