import MMedFormats
import MMedProtocol

/// A coordinator's end of the wire with failpoints around each message by its kind.
final class FailpointCoordinatorEndpoint: CoordinatorEndpoint {
    let inbound: AsyncStream<InboundFromWorkers>
    private let inner: any CoordinatorEndpoint

    init(_ inner: any CoordinatorEndpoint) {
        self.inner = inner
        inbound = observed(inner.inbound) { heard in
            if case .message(_, let message) = heard { Failpoint.note(Failpoints.coordinatorReceives(message.kind)) }
        }
    }

    func send(_ message: CoordinatorMessage, to peer: PeerID) {
        let sites = Failpoints.coordinatorSends(message.kind)
        Failpoint.note(sites[0])
        inner.send(message, to: peer)
        Failpoint.note(sites[1])
    }

    func handled() { inner.handled() }

    func close() async { await inner.close() }
}

/// The same for a worker's end.
final class FailpointWorkerEndpoint: WorkerEndpoint {
    let inbound: AsyncStream<InboundFromCoordinator>
    private let inner: any WorkerEndpoint

    init(_ inner: any WorkerEndpoint) {
        self.inner = inner
        inbound = observed(inner.inbound) { heard in
            if case .message(let message) = heard { Failpoint.note(Failpoints.workerReceives(message.kind)) }
        }
    }

    func send(_ message: WorkerMessage) async {
        let sites = Failpoints.workerSends(message.kind)
        Failpoint.note(sites[0])
        await inner.send(message)
        Failpoint.note(sites[1])
    }

    func close() async { await inner.close() }
}

/// The same stream for one reader, each element seen before the reader has it.
private func observed<Element: Sendable>(
    _ stream: AsyncStream<Element>, _ see: @escaping @Sendable (Element) -> Void
) -> AsyncStream<Element> {
    let source = Source(stream)
    return AsyncStream(unfolding: {
        guard let element = await source.next() else { return nil }
        see(element)
        return element
    })
}

// Proof: an AsyncStream made by unfolding calls its closure for one element at a time.
private final class Source<Element: Sendable>: @unchecked Sendable {
    private var iterator: AsyncStream<Element>.Iterator

    init(_ stream: AsyncStream<Element>) { iterator = stream.makeAsyncIterator() }

    func next() async -> Element? { await iterator.next() }
}
