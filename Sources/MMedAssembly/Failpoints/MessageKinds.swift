import MMedProtocol

// The kinds of messages, as failpoints name them.

extension WorkerMessage {
    static let kinds = [
        "hello", "ready", "trajectories", "gradient-chunk", "lease-failed", "update-applied", "canary",
        "blob-request", "beat", "goodbye",
    ]

    var kind: String {
        switch self {
        case .hello: "hello"
        case .ready: "ready"
        case .trajectories: "trajectories"
        case .gradientChunk: "gradient-chunk"
        case .leaseFailed: "lease-failed"
        case .updateApplied: "update-applied"
        case .canary: "canary"
        case .blobRequest: "blob-request"
        case .beat: "beat"
        case .goodbye: "goodbye"
        }
    }
}

extension CoordinatorMessage {
    static let kinds = [
        "welcome", "refused", "introduce-yourself", "rollout", "gradient", "trajectories-recorded",
        "gradient-received", "lease-revoked", "update", "blob-chunk", "blob-missing", "drain", "end",
    ]

    var kind: String {
        switch self {
        case .welcome: "welcome"
        case .refused: "refused"
        case .introduceYourself: "introduce-yourself"
        case .rollout: "rollout"
        case .gradient: "gradient"
        case .trajectoriesRecorded: "trajectories-recorded"
        case .gradientReceived: "gradient-received"
        case .leaseRevoked: "lease-revoked"
        case .update: "update"
        case .blobChunk: "blob-chunk"
        case .blobMissing: "blob-missing"
        case .drain: "drain"
        case .end: "end"
        }
    }
}
