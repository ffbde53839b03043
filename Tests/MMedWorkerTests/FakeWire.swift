import MMedLocks
import MMedProtocol

@testable import MMedWorker

/// A worker's end of a wire in memory; the test plays the coordinator.
final class FakeWire: WorkerEndpoint {
    private struct State {
        var isClosed = false
        /// Messages that may pass before the wire is full; nil is all of them.
        var room: Int?
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    let inbound: AsyncStream<InboundFromCoordinator>
    private let heard: AsyncStream<InboundFromCoordinator>.Continuation
    private let state = Locked(State())
    /// Everything that the worker said.
    let said = Mailbag<WorkerMessage>()
    /// Each time that the worker had to wait because the wire was full.
    let stalls = Mailbag<Bool>()

    init() { (inbound, heard) = AsyncStream.makeStream() }

    func send(_ message: WorkerMessage) async {
        while true {
            let isSent = await withCheckedContinuation { (waiter: CheckedContinuation<Bool, Never>) in
                let verdict = state.withLock { state -> Bool? in
                    if state.isClosed { return true }
                    guard let room = state.room else {
                        said.add(message)
                        return true
                    }
                    if room == 0 { return nil }
                    if case .beat = message {} else { state.room = room - 1 }
                    said.add(message)
                    return true
                }
                waiter.resume(returning: verdict ?? false)
            }
            if isSent { return }
            stalls.add(true)
            await withCheckedContinuation { waiter in
                let isOpen = state.withLock { state -> Bool in
                    if state.isClosed || state.room != 0 { return true }
                    state.waiting.append(waiter)
                    return false
                }
                if isOpen { waiter.resume() }
            }
        }
    }

    func close() async {
        release { $0.isClosed = true }
        heard.finish()
    }

    // MARK: The test's side

    func say(_ message: CoordinatorMessage) { heard.yield(.message(message)) }
    func hear(_ inbound: InboundFromCoordinator) { heard.yield(inbound) }

    /// After so many more messages, beats apart, the wire is full.
    func fill(after room: Int) { state.withLock { $0.room = room } }

    /// The wire takes everything again.
    func free() { release { $0.room = nil } }

    private func release(_ change: (inout State) -> Void) {
        let waiting = state.withLock { state in
            change(&state)
            defer { state.waiting = [] }
            return state.waiting
        }
        for waiter in waiting { waiter.resume() }
    }

    // MARK: What is waited for

    func hello() async throws -> Hello {
        try await said.next("hello") { if case .hello(let hello) = $0 { hello } else { nil } }
    }

    func ready() async throws -> Int {
        try await said.next("ready") { if case .ready(let credits) = $0 { credits } else { nil } }
    }

    func path() async throws -> (LeaseID, [Trajectory]) {
        try await said.next("path") { if case .trajectories(let lease, let paths) = $0 { (lease, paths) } else { nil } }
    }

    func chunk() async throws -> GradientChunk {
        try await said.next("chunk") { if case .gradientChunk(let chunk) = $0 { chunk } else { nil } }
    }

    func failure() async throws -> (LeaseID, String) {
        try await said.next("failure") { if case .leaseFailed(let lease, let why) = $0 { (lease, why) } else { nil } }
    }

    func request() async throws -> BlobPuller.Request {
        try await said.next("blob request") { message in
            guard case .blobRequest(let digest, let offset) = message else { return nil }
            return BlobPuller.Request(digest: digest, offset: offset)
        }
    }

    func applied() async throws -> AdapterReference {
        try await said.next("applied update") { if case .updateApplied(let one) = $0 { one } else { nil } }
    }

    func beat(_ isMeant: @escaping @Sendable (Beat) -> Bool = { _ in true }) async throws -> Beat {
        try await said.next("beat") { if case .beat(let beat) = $0, isMeant(beat) { beat } else { nil } }
    }

    func goodbye() async throws -> String {
        try await said.next("goodbye") { if case .goodbye(let reason) = $0 { reason } else { nil } }
    }
}
