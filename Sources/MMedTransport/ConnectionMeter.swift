import Glibc
import MMedProtocol

/// Finds connections that bring bytes and no message. ZeroMQ hands a message over when its last part is there, and until
/// then holds the parts, however many: one that never ends would fill the memory. What the kernel says a connection has
/// brought is held against what was heard of it; the difference waits somewhere.
struct ConnectionMeter {
    /// What the kernel says of a connection.
    struct Reading {
        let descriptor: Int32
        /// The other end's port: a descriptor may be another connection's by the next look.
        let peer: UInt16
        /// Since it was opened.
        let received: UInt64
    }

    private struct Account {
        let peer: UInt16
        var received: UInt64
        var waiting: Int
    }

    static let lookMilliseconds = 200
    /// ZeroMQ's own bytes around a message, and CURVE's: rather too many, or they would add up over a long connection.
    private static let overheadBytes = 128

    /// A look at a thousand connections costs some milliseconds, and what waits without end shows in the process's memory.
    private static let growthBytes = 32 << 20
    private static let pause = Duration.seconds(2)

    private var residentLeast = Int.max
    private var lookedAt: ContinuousClock.Instant?
    private var accounts: [Int32: Account] = [:]
    private var heard: [Int32: Int] = [:]

    /// A message came on a connection.
    mutating func hear(_ descriptor: Int32, bytes: Int) {
        if descriptor >= 0 { heard[descriptor, default: 0] += bytes + ConnectionMeter.overheadBytes }
    }

    /// Whether to look now: the process has grown since the last time, or that is long ago.
    mutating func isDue(resident: Int, at now: ContinuousClock.Instant) -> Bool {
        residentLeast = min(residentLeast, resident)
        if let lookedAt, now - lookedAt < ConnectionMeter.pause,
            resident - residentLeast < ConnectionMeter.growthBytes
        {
            return false
        }
        (residentLeast, lookedAt) = (resident, now)
        return true
    }

    /// Takes what the kernel says of all connections; returns those to be closed, with the bytes that wait on them.
    mutating func look(_ readings: [Reading]) -> [(descriptor: Int32, bytes: Int)] {
        var next: [Int32: Account] = [:]
        for reading in readings {
            let known = accounts[reading.descriptor].flatMap { account in
                account.peer == reading.peer && account.received <= reading.received ? account : nil
            }
            let brought = Int(clamping: reading.received - (known?.received ?? 0))
            let waiting = max(0, (known?.waiting ?? 0) + brought - (heard[reading.descriptor] ?? 0))
            next[reading.descriptor] = Account(peer: reading.peer, received: reading.received, waiting: waiting)
        }
        accounts = next
        heard = [:]
        var sum = next.values.reduce(0) { $0 + $1.waiting }
        var closed: [(descriptor: Int32, bytes: Int)] = []
        for (descriptor, account) in next.sorted(by: { ($0.value.waiting, $0.key) > ($1.value.waiting, $1.key) }) {
            guard account.waiting > Limits.unheardBytes || sum > Limits.unheardBytesTogether else { break }
            closed.append((descriptor, account.waiting))
            sum -= account.waiting
            accounts[descriptor] = nil
        }
        return closed
    }

    // MARK: The kernel

    /// Where `tcp_info` of linux/tcp.h has `tcpi_bytes_received`; the C library's own header ends before it.
    private static let receivedOffset = 128

    /// Bytes of this process in memory; all there are when the kernel does not say.
    static func residentBytes() -> Int {
        let file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return .max }
        defer { close(file) }
        var text = [UInt8](repeating: 0, count: 128)
        let count = read(file, &text, text.count)
        let words = String(decoding: text.prefix(max(0, count)), as: UTF8.self).split(separator: " ")
        return words.count > 1 ? Int(words[1]).map { $0 * sysconf(Int32(_SC_PAGESIZE)) } ?? .max : .max
    }

    /// This process's open connections whose own end is this port.
    static func readings(port: UInt16) -> [Reading] {
        guard let folder = opendir("/proc/self/fd") else { return [] }
        defer { closedir(folder) }
        var found: [Reading] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard let descriptor = Int32(name), self.port(of: descriptor, getsockname) == port,
                let peer = self.port(of: descriptor, getpeername), let received = received(descriptor)
            else { continue }
            found.append(Reading(descriptor: descriptor, peer: peer, received: received))
        }
        return found
    }

    /// The port of one end of a TCP connection; nil for what is none.
    private static func port(
        of descriptor: Int32,
        _ ask: (Int32, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
    ) -> UInt16? {
        var storage = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutablePointer(to: &storage) { pointer -> UInt16? in
            let isKnown = pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { ask(descriptor, $0, &size) == 0 }
            guard isKnown, [AF_INET, AF_INET6].contains(Int32(pointer.pointee.ss_family)) else { return nil }
            // Both families have the port behind the family.
            return UInt16(bigEndian: UnsafeRawPointer(pointer).load(fromByteOffset: 2, as: UInt16.self))
        }
    }

    private static func received(_ descriptor: Int32) -> UInt64? {
        var info = [UInt64](repeating: 0, count: 64)
        var size = socklen_t(info.count * 8)
        guard getsockopt(descriptor, Int32(IPPROTO_TCP), TCP_INFO, &info, &size) == 0,
            Int(size) >= receivedOffset + 8
        else { return nil }
        return info[receivedOffset / 8]
    }
}
