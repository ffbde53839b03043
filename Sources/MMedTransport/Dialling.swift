import MMedProtocol

/// A worker's tries to open its connection: what to tell of those that fail, and when to try again where ZeroMQ does not.
struct Dialling {
    let address: WireAddress
    /// Whether this end has a key.
    let hasKey: Bool
    private var isOpen = false
    private var failuresInARow = 0
    private var told: HandshakeEvent?
    private var againAt: ContinuousClock.Instant?
    private var pause = Dialling.pauseMin

    /// A refusal may be lifted by a new list; the pauses double up to the last.
    static let pauseMin = Duration.milliseconds(500)
    static let pauseMax = Duration.seconds(5)
    /// A handshake may break off because the coordinator ends or starts; so many in a row have another reason.
    static let breaksForgiven = 4

    init(address: WireAddress, hasKey: Bool) { (self.address, self.hasKey) = (address, hasKey) }

    /// What to tell of an event: each reason once, until a handshake succeeds.
    mutating func take(_ event: HandshakeEvent, at now: ContinuousClock.Instant) -> InboundFromCoordinator? {
        switch event {
        case .succeeded:
            self = Dialling(address: address, hasKey: hasKey)
            isOpen = true
            return nil
        case .disconnected:
            // It follows each handshake that failed, too.
            guard isOpen else { return nil }
            isOpen = false
            return .connectionLost
        case .keyRefused, .otherMechanism:
            againAt = now + pause
            pause = min(pause * 2, Dialling.pauseMax)
        case .brokenOff:
            failuresInARow += 1
            // A reason that was told says more than that there is none.
            let hasReason = told == .keyRefused || told == .otherMechanism
            if hasReason || failuresInARow <= Dialling.breaksForgiven { return nil }
        }
        guard told != event else { return nil }
        told = event
        return failure(event)
    }

    /// Whether to connect anew now, and the milliseconds until the next look; -1 when there is nothing to wait for.
    mutating func due(at now: ContinuousClock.Instant) -> (isDue: Bool, milliseconds: Int) {
        guard let time = againAt else { return (false, -1) }
        if time <= now {
            againAt = nil
            return (true, -1)
        }
        return (false, Int((time - now) / Duration.milliseconds(1)) + 1)
    }

    private func failure(_ event: HandshakeEvent) -> InboundFromCoordinator? {
        switch event {
        case .succeeded, .disconnected: nil
        case .keyRefused:
            .handshakeFailed(
                reason:
                    "the coordinator at \(address) does not take this worker's key: it is not in its workers.allow (any more)",
                mend: "add the key there and send the coordinator SIGHUP, or start the worker with a key of the list")
        case .otherMechanism:
            .handshakeFailed(
                reason:
                    "the coordinator at \(address) and this worker do not agree on keys: one of them has none (--keys there, --key here)",
                mend: "give both their keys, or none where both are on one machine")
        case .brokenOff where !hasKey:
            .handshakeFailed(
                reason:
                    "the handshake with \(address) breaks off: perhaps what listens there asks for keys, or is no mmed-coord",
                mend: "give this worker a key (--key), or the address that mmed-coord prints")
        case .brokenOff:
            .handshakeFailed(
                reason:
                    "the handshake with \(address) breaks off: perhaps the key file pins another coordinator, or what listens there has no keys",
                mend: "take the worker's key file from the folder of keys that this coordinator was started with")
        }
    }
}
