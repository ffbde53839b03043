import Glibc
import MMedCodec
import MMedProtocol
import Testing

@testable import MMedTransport

/// A TCP connection that speaks ZMTP by hand.
private final class RawConnection {
    private let descriptor: Int32

    init(port: UInt16) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var place = sockaddr_in()
        place.sin_family = sa_family_t(AF_INET)
        place.sin_addr.s_addr = in_addr_t(INADDR_LOOPBACK).bigEndian
        place.sin_port = port.bigEndian
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let code = withUnsafePointer(to: &place) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, size) }
        }
        try #require(code == 0)
        let greeting = [0xFF] + [UInt8](repeating: 0, count: 8) + [0x7F, 3, 0] + Array("NULL".utf8)
        let ready = [5] + Array("READY".utf8) + [11] + Array("Socket-Type".utf8) + [0, 0, 0, 6] + Array("DEALER".utf8)
        let all = greeting + [UInt8](repeating: 0, count: 64 - greeting.count) + [4, UInt8(ready.count)] + ready
        try #require(write(all))
        // ZeroMQ closes a connection whose messages come before it has said READY itself.
        let answer = try read(64 + 2)
        _ = try read(Int(answer[65]))
    }

    private func read(_ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let got = recv(descriptor, &bytes, count, Int32(MSG_WAITALL))
        try #require(got == count)
        return bytes
    }

    deinit { close(descriptor) }

    /// False when the other end has closed the connection.
    func write(_ bytes: [UInt8]) -> Bool {
        var done = 0
        while done < bytes.count {
            let count = bytes[done...].withUnsafeBytes {
                send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count <= 0 { return false }
            done += count
        }
        return true
    }

    /// A part of 64 KiB behind which more is said to follow.
    static let part: [UInt8] = [3, 0, 0, 0, 0, 0, 1, 0, 0] + [UInt8](repeating: 7, count: 1 << 16)
}

@Suite("Connections that bring bytes and no message", .timeLimit(.minutes(10)))
struct ConnectionMeterTests {
    private func reading(_ descriptor: Int32, _ received: Int, peer: UInt16 = 1) -> ConnectionMeter.Reading {
        ConnectionMeter.Reading(descriptor: descriptor, peer: peer, received: UInt64(received))
    }

    private let limit = Limits.unheardBytes

    @Test("what was heard does not count, whenever it is looked at")
    func heard() {
        var meter = ConnectionMeter()
        var received = 0
        for _ in 0..<1_000 {
            received += limit
            meter.hear(5, bytes: limit)
            #expect(meter.look([reading(5, received)]).isEmpty)
        }
        #expect(meter.look([reading(5, received + limit)]).isEmpty)
        #expect(meter.look([reading(5, received + limit + 1)]).map(\.bytes) == [limit + 1])
    }

    @Test("small messages earn no credit for an endless one")
    func credit() {
        var meter = ConnectionMeter()
        for _ in 0..<1_000_000 { meter.hear(5, bytes: 1) }
        #expect(meter.look([reading(5, 10_000_000)]).isEmpty)
        #expect(meter.look([reading(5, 10_000_000 + limit + 1)]).map(\.descriptor) == [5])
    }

    @Test("a descriptor that is another connection's by now begins anew")
    func reused() {
        var meter = ConnectionMeter()
        #expect(meter.look([reading(5, limit, peer: 1)]).isEmpty)
        #expect(meter.look([reading(5, limit, peer: 2)]).isEmpty)
        #expect(meter.look([]).isEmpty)
        #expect(meter.look([reading(5, limit, peer: 2)]).isEmpty)
    }

    @Test("together they may hold less than each may alone; the largest go first")
    func together() {
        var meter = ConnectionMeter()
        let count = Int32(Limits.unheardBytesTogether / (limit / 2)) + 2
        let readings = (0..<count).map { reading($0, limit / 2 + Int($0)) }
        #expect(meter.look(readings).map(\.descriptor) == [count - 1, count - 2, count - 3])
    }

    @Test("a connection is hung up, and a socket that listens under its number by now is left alone")
    func hangUp() throws {
        var pair: [Int32] = [-1, -1]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair) == 0)
        WireSocket.hangUp(pair[0])
        var byte: UInt8 = 0
        #expect(read(pair[1], &byte, 1) == 0)
        // It is ZeroMQ's to close.
        #expect(fcntl(pair[0], F_GETFD) >= 0)
        pair.forEach { close($0) }

        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(listener) }
        try #require(listen(listener, 1) == 0)
        WireSocket.hangUp(listener)
        var listens: Int32 = 0
        var size = socklen_t(4)
        #expect(getsockopt(listener, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens == 1)
    }

    @Test("a message whose parts never end costs its connection, and others are heard")
    func endless() async throws {
        let coordinator = try Sample.listening()
        let port = try #require(coordinator.boundAddress.split(separator: ":").last.flatMap { UInt16($0) })
        try startThread(named: "endless") {
            guard let raw = try? RawConnection(port: port) else { return }
            while raw.write(RawConnection.part) {}
        }
        var events = coordinator.inbound.makeAsyncIterator()
        guard case .malformed(let nobody, let reason) = await events.next() else {
            Issue.record("nothing was said of it")
            return
        }
        #expect(nobody == PeerID(number: 0))
        #expect(reason.hasSuffix("no end of a message: its connection is closed"))
        let honest = try Sample.connected(to: coordinator)
        await honest.send(Sample.hello())
        while let event = await events.next() {
            if case .message(_, Sample.hello()) = event { break }
        }
        await honest.close()
        await coordinator.close()
    }
}
