import Dispatch
import Foundation

/// SIGINT, SIGTERM and perhaps SIGHUP as calls: the first asks for an end in good order, a second ends the process at once with exit code 130.
/// What comes together is one wish: `timeout` signals the program and then its whole group.
final class StopSignals: Sendable {
    // Proof: written once in `init`; `cancel` is the only later call, and Dispatch allows it from any thread.
    nonisolated(unsafe) private let sources: [any DispatchSourceSignal]

    /// `onSecond` must be quick: the process ends when it returns. `isHangupWish` takes SIGHUP for such a signal too, as a
    /// terminal sends it when it is closed, unless `nohup` has had it ignored.
    init(
        isHangupWish: Bool, onFirst: @escaping @Sendable () -> Void, onSecond: @escaping @Sendable () -> Void = {}
    ) {
        let count = SignalCount()
        let numbers = [SIGINT, SIGTERM] + (isHangupWish && !StopSignals.isIgnored(SIGHUP) ? [SIGHUP] : [])
        sources = numbers.map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: count.queue)
            source.setEventHandler {
                switch count.next() {
                case .first: onFirst()
                case .echo: break
                case .second:
                    onSecond()
                    _exit(130)
                }
            }
            source.resume()
            return source
        }
    }

    func cancel() { for source in sources { source.cancel() } }

    private static func isIgnored(_ number: Int32) -> Bool {
        var action = sigaction()
        sigaction(number, nil, &action)
        return unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self)
            == unsafeBitCast(SIG_IGN, to: Int.self)
    }
}

/// SIGHUP as a call: read again what may change while a run goes on.
final class ReloadSignal: Sendable {
    // Proof: written once in `init`; `cancel` is the only later call, and Dispatch allows it from any thread.
    nonisolated(unsafe) private let source: any DispatchSourceSignal

    /// Calls come one at a time.
    init(_ onHangup: @escaping @Sendable () -> Void) {
        signal(SIGHUP, SIG_IGN)
        source = DispatchSource.makeSignalSource(signal: SIGHUP, queue: DispatchQueue(label: "mmed.reload"))
        source.setEventHandler(handler: onHangup)
        source.resume()
    }

    func cancel() { source.cancel() }
}

private final class SignalCount: Sendable {
    enum Meaning { case first, echo, second }

    let queue = DispatchQueue(label: "mmed.signals")
    private static let echoNanoseconds: UInt64 = 300_000_000
    // Proof: read and written only on `queue`, which is serial.
    nonisolated(unsafe) private var firstAt: UInt64?

    func next() -> Meaning {
        let now = DispatchTime.now().uptimeNanoseconds
        guard let firstAt else {
            firstAt = now
            return .first
        }
        return now - firstAt < SignalCount.echoNanoseconds ? .echo : .second
    }
}
