import MMedAlgorithms
import MMedCore
import MMedProtocol

/// A choice with a number on the wire, never 0, so that an absent field is an error.
protocol WireCoded: CaseIterable, Sendable {
    var wireCode: UInt32 { get }
}

extension WireCoded {
    /// The choice of a number.
    static func read(_ code: UInt32, _ field: String) throws(CodecError) -> Self {
        guard let found = allCases.first(where: { $0.wireCode == code }) else {
            throw .malformed(reason: "\(field): \(code) is no choice")
        }
        return found
    }
}

extension WorkerRole: WireCoded {
    var wireCode: UInt32 {
        switch self {
        case .rollout: 1
        case .learner: 2
        }
    }
}

extension LossTarget: WireCoded {
    var wireCode: UInt32 {
        switch self {
        case .conditioned: 1
        case .stripped: 2
        }
    }
}

extension StrippedWeights: WireCoded {
    var wireCode: UInt32 {
        switch self {
        case .token: 1
        case .sequence: 2
        case .none: 3
        }
    }
}

extension Importance: WireCoded {
    var wireCode: UInt32 {
        switch self {
        case .token: 1
        case .sequence: 2
        }
    }
}

extension Aggregation: WireCoded {
    var wireCode: UInt32 {
        switch self {
        case .constant: 1
        case .sequence: 2
        case .token: 3
        }
    }
}

extension ProximalPolicy: WireCoded {
    var wireCode: UInt32 {
        switch self {
        case .step: 1
        case .roll: 2
        }
    }
}

extension KLEstimator: WireCoded {
    var wireCode: UInt32 {
        switch self {
        case .k1: 1
        case .k2: 2
        case .k3: 3
        }
    }
}

/// Message types from a worker: byte 6 of a frame.
enum WorkerType: UInt8 {
    case hello = 1
    case ready, trajectories, gradientChunk, leaseFailed, updateApplied, blobRequest, beat, goodbye, canary
}

/// Message types from the coordinator: byte 6 of a frame.
enum CoordinatorType: UInt8 {
    case welcome = 65
    case refused, introduceYourself, rollout, gradient, trajectoriesRecorded, gradientReceived, leaseRevoked
    case update, blobChunk, blobMissing, drain, end
}
