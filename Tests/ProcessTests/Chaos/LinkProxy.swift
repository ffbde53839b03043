import Foundation
import Glibc
import MMedLocks
import MMedProtocol

/// A relay on loopback between one worker and its coordinator, which a test can cut, hold up or make deaf on one side. What
/// the coordinator acknowledges on the way through is remembered.
final class LinkProxy: Sendable {
    enum Fault: String, CaseIterable {
        /// Connections are closed, new ones too.
        case cut
        /// Connections stay, nothing moves.
        case stalled
        /// What the worker says does not arrive.
        case upStalled = "up-stalled"
        /// What the coordinator says does not arrive.
        case downStalled = "down-stalled"
        /// A few kilobytes a second, in small pieces.
        case slow
    }

    private struct State {
        var fault: Fault?
        var isOver = false
        var acknowledged = Set<SlotID>()
    }

    let port: UInt16
    private let target: UInt16
    private let listener: Int32
    private let state = Locked(State())

    /// Relays from a free port to a port of this machine.
    init(target: UInt16) throws {
        self.target = target
        (listener, port) = try Loopback.listen()
        let thread = Thread { [self] in relay() }
        thread.start()
    }

    func set(_ fault: Fault?) { state.withLock { $0.fault = fault } }
    func close() { state.withLock { $0.isOver = true } }
    /// Slots that the coordinator has acknowledged on this link.
    var acknowledged: Set<SlotID> { state.withLock { $0.acknowledged } }

    private struct Link {
        let worker: Int32, coordinator: Int32
        var up: [UInt8] = [], down: [UInt8] = []
        var reader = AcknowledgementReader()
    }

    private func relay() {
        var links: [Link] = []
        while true {
            let (fault, isOver) = state.withLock { ($0.fault, $0.isOver) }
            if isOver || fault == .cut {
                for link in links { close(link) }
                links = []
            }
            if isOver { break }
            var wanted: [pollfd] = []
            let isOpen = fault != .stalled
            wanted.append(pollfd(fd: isOpen ? listener : -1, events: Int16(POLLIN), revents: 0))
            for link in links {
                wanted.append(events(link.worker, fault, reads: link.up, writes: link.down, isUp: true))
                wanted.append(events(link.coordinator, fault, reads: link.down, writes: link.up, isUp: false))
            }
            poll(&wanted, nfds_t(wanted.count), 5)
            if wanted[0].revents != 0 { accept(fault, &links) }
            // A link that was accepted just now has no events yet.
            let known = (wanted.count - 1) / 2
            for index in links.indices.prefix(known).reversed() {
                let (left, right) = (wanted[1 + 2 * index], wanted[2 + 2 * index])
                if !move(&links[index], left, right, slowly: fault == .slow) {
                    close(links[index])
                    links.remove(at: index)
                }
            }
            if fault == .slow { usleep(20_000) }
        }
        Glibc.close(listener)
    }

    private func events(
        _ descriptor: Int32, _ fault: Fault?, reads: [UInt8], writes: [UInt8], isUp: Bool
    ) -> pollfd {
        var events: Int32 = 0
        let isDeaf = fault == .stalled || fault == (isUp ? .upStalled : .downStalled)
        if reads.isEmpty && !isDeaf { events |= POLLIN }
        if !writes.isEmpty { events |= POLLOUT }
        // Without a wish the descriptor is left out: a closed end would keep the poll awake.
        return pollfd(fd: events == 0 ? -1 : descriptor, events: Int16(events), revents: 0)
    }

    private func accept(_ fault: Fault?, _ links: inout [Link]) {
        let worker = Glibc.accept(listener, nil, nil)
        guard worker >= 0 else { return }
        guard fault != .cut, let coordinator = Loopback.connect(target) else {
            Glibc.close(worker)
            return
        }
        for descriptor in [worker, coordinator] {
            _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
            _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        }
        links.append(Link(worker: worker, coordinator: coordinator))
    }

    /// Moves what can be moved; false when one end is closed.
    private func move(_ link: inout Link, _ worker: pollfd, _ coordinator: pollfd, slowly: Bool) -> Bool {
        let ends = Int16(POLLIN | POLLHUP | POLLERR)
        let size = slowly ? 256 : 65_536
        if link.up.isEmpty && worker.revents & ends != 0 {
            guard let bytes = Loopback.read(link.worker, size) else { return false }
            link.up = bytes
        }
        if link.down.isEmpty && coordinator.revents & ends != 0 {
            guard let bytes = Loopback.read(link.coordinator, size) else { return false }
            link.down = bytes
            let slots = link.reader.take(bytes)
            if !slots.isEmpty { state.withLock { $0.acknowledged.formUnion(slots) } }
        }
        return Loopback.write(link.coordinator, &link.up) && Loopback.write(link.worker, &link.down)
    }

    private func close(_ link: Link) {
        Glibc.close(link.worker)
        Glibc.close(link.coordinator)
    }
}

/// Sockets of 127.0.0.1.
enum Loopback {
    static func address(_ port: UInt16) -> sockaddr_in {
        var place = sockaddr_in()
        place.sin_family = sa_family_t(AF_INET)
        place.sin_addr.s_addr = in_addr_t(INADDR_LOOPBACK).bigEndian
        place.sin_port = port.bigEndian
        return place
    }

    /// A listening socket and its port; 0 takes a free one.
    static func listen(at wanted: UInt16 = 0) throws -> (descriptor: Int32, port: UInt16) {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var place = address(wanted)
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &place) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(descriptor, address, size) == 0 && Glibc.listen(descriptor, 16) == 0
                    && getsockname(descriptor, address, &size) == 0
            }
        }
        guard descriptor >= 0, isBound else {
            if descriptor >= 0 { close(descriptor) }
            throw Failure("no socket on loopback")
        }
        return (descriptor, UInt16(bigEndian: place.sin_port))
    }

    /// A port that nobody uses now, from below those that the system gives to connections: one that is tried again and again
    /// while nobody listens there may otherwise be given that very port, and connects to itself.
    static func freePort() throws -> UInt16 {
        for _ in 0..<1_000 {
            guard let (descriptor, port) = try? listen(at: UInt16.random(in: 20_000..<32_000)) else { continue }
            close(descriptor)
            return port
        }
        throw Failure("no free port on loopback")
    }

    static func connect(_ port: UInt16) -> Int32? {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        var place = address(port)
        let isThere = withUnsafePointer(to: &place) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
        if !isThere { close(descriptor) }
        return isThere ? descriptor : nil
    }

    /// What is there, maybe nothing; nil when the other end is closed.
    static func read(_ descriptor: Int32, _ size: Int) -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: size)
        let count = recv(descriptor, &buffer, size, 0)
        if count < 0 && (errno == EAGAIN || errno == EINTR) { return [] }
        return count > 0 ? Array(buffer[..<count]) : nil
    }

    /// Writes what can be written and keeps the rest; false when the other end is closed.
    static func write(_ descriptor: Int32, _ bytes: inout [UInt8]) -> Bool {
        guard !bytes.isEmpty else { return true }
        let count = send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
        if count < 0 { return errno == EAGAIN || errno == EINTR }
        bytes.removeFirst(count)
        return true
    }
}
