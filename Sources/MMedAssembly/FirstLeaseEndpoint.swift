import Foundation
import MMedCoordinator
import MMedProtocol
import MMedScheduling
import Synchronization

/// A coordinator's end of the wire that tells the log when the process sends its first lease: what a user waits for after a crash.
final class FirstLeaseEndpoint: CoordinatorEndpoint {
    var inbound: AsyncStream<InboundFromWorkers> { inner.inbound }
    private let inner: any CoordinatorEndpoint
    private let telemetry: any TelemetryPort
    private let isTold = Atomic<Bool>(false)

    init(_ inner: any CoordinatorEndpoint, telemetry: any TelemetryPort) {
        self.inner = inner
        self.telemetry = telemetry
    }

    func send(_ message: CoordinatorMessage, to peer: PeerID) {
        inner.send(message, to: peer)
        if isTold.load(ordering: .relaxed) { return }
        switch message {
        case .rollout, .gradient: break
        default: return
        }
        guard !isTold.exchange(true, ordering: .relaxed) else { return }
        let seconds = FirstLeaseEndpoint.secondsSinceTheProcessBegan
        telemetry.log(
            LogEntry(
                .info, scope: "run", event: "first-lease",
                fields: seconds.map { [LogEntry.Field("after_s", .double($0))] } ?? []))
    }

    func handled() { inner.handled() }

    func close() async { await inner.close() }

    /// From the kernel's books, in hundredths; nil when they cannot be read.
    private static var secondsSinceTheProcessBegan: Double? {
        guard let text = try? String(contentsOfFile: "/proc/self/stat", encoding: .utf8),
            let uptime = try? String(contentsOfFile: "/proc/uptime", encoding: .utf8),
            // The second field is the program's name in brackets, which may hold blanks.
            let rest = text.lastIndex(of: ")"),
            let now = uptime.split(separator: " ").first.flatMap({ Double($0) })
        else { return nil }
        let fields = text[rest...].split(separator: " ")
        let ticks = Double(sysconf(Int32(_SC_CLK_TCK)))
        guard fields.count > 20, let began = Double(fields[20]), ticks > 0 else { return nil }
        return max(0, now - began / ticks)
    }
}
