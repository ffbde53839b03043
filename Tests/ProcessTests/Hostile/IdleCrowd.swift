import Foundation
import Glibc
import MMedLocks

/// Connections that are opened and then say nothing, or no more than a ZeroMQ greeting; one that is closed is opened anew.
final class IdleCrowd: Sendable {
    private struct State {
        var isOver = false
        var most = 0
        var opened = 0
    }

    private let state = Locked(State())
    private let wanted: Int
    private let port: UInt16
    /// Half of them finish ZeroMQ's handshake, which without keys anybody can.
    private let greets: Bool
    private let place: HostilePlace
    /// Opened in a turn of the loop: a thousand at once would only wait in the kernel's queue.
    private static let perTurn = 32
    private static let turnMilliseconds: Int32 = 10

    init(_ wanted: Int, at port: UInt16, greets: Bool, _ place: HostilePlace) {
        (self.wanted, self.port, self.greets, self.place) = (wanted, port, greets, place)
    }

    /// The most that were open at once, and all that were opened.
    var counts: (most: Int, opened: Int) { state.withLock { ($0.most, $0.opened) } }
    func end() { state.withLock { $0.isOver = true } }

    func start(done: @escaping @Sendable () -> Void) {
        let thread = Thread { [self] in
            place.take()
            idle()
            done()
        }
        thread.start()
    }

    private func idle() {
        var open: [Int32] = []
        while !state.withLock({ $0.isOver }) {
            for _ in 0..<min(IdleCrowd.perTurn, wanted - open.count) {
                guard let descriptor = Loopback.connect(port) else { break }
                _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
                _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
                var words = open.count % 2 == 0 && greets ? IdleCrowd.handshake : []
                guard Loopback.write(descriptor, &words) else {
                    close(descriptor)
                    break
                }
                open.append(descriptor)
                state.withLock { $0.opened += 1 }
            }
            state.withLock { $0.most = max($0.most, open.count) }
            var polled = open.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            poll(&polled, nfds_t(polled.count), open.count < wanted ? 0 : IdleCrowd.turnMilliseconds)
            open = zip(open, polled).compactMap { descriptor, found in
                // What the coordinator says is read and forgotten; nothing read means that it hung up.
                if found.revents == 0 || Loopback.read(descriptor, 4_096) != nil { return descriptor }
                close(descriptor)
                return nil
            }
            usleep(UInt32(IdleCrowd.turnMilliseconds) * 1_000)
        }
        for descriptor in open { close(descriptor) }
    }

    /// Greeting and READY of a DEALER by ZMTP 3.0 without keys (RFC 23).
    private static let handshake: [UInt8] = {
        let greeting = [0xFF] + [UInt8](repeating: 0, count: 8) + [0x7F, 3, 0] + Array("NULL".utf8)
        let property = [11] + Array("Socket-Type".utf8) + [0, 0, 0, 6] + Array("DEALER".utf8)
        let ready = [5] + Array("READY".utf8) + property
        return greeting + [UInt8](repeating: 0, count: 64 - greeting.count) + [4, UInt8(ready.count)] + ready
    }()
}

/// The soft limit of open files becomes the hard one.
func raiseOpenFiles() {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
    limit.rlim_cur = min(limit.rlim_max, 65_536)
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
}
