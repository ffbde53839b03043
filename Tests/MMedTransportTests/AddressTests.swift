import Glibc
import MMedCore
import Testing

@testable import MMedTransport

/// A folder of mode 700 that is removed with its files.
final class TemporaryFolder {
    let path: String

    init() throws {
        var template = Array("/tmp/mmed-test-XXXXXX".utf8CString)
        path = try #require(mkdtemp(&template).map { String(cString: $0) })
    }

    deinit {
        unlink(path + "/mmed.sock")
        rmdir(path)
    }

    var address: String { "ipc://\(path)/mmed.sock" }
}

@Suite("Addresses")
struct AddressTests {
    @Test(
        "loopback and Unix sockets are taken",
        arguments: [
            ("tcp://127.0.0.1:5555", "tcp://127.0.0.1:5555"), ("tcp://localhost:80", "tcp://127.0.0.1:80"),
            ("tcp://[::1]:5555", "tcp://[::1]:5555"), ("ipc:///run/x.sock", "ipc:///run/x.sock"),
        ])
    func taken(text: String, endpoint: String) throws {
        #expect(try WireAddress(text, for: .connecting).endpoint == endpoint)
    }

    @Test(
        "everything else is refused in words",
        arguments: [
            "tcp://0.0.0.0:5555", "tcp://*:5555", "tcp://10.0.0.1:5555", "tcp://example.org:5555", "tcp://127.0.0.1",
            "tcp://127.0.0.1:", "tcp://127.0.0.1:0", "tcp://127.0.0.1:*", "tcp://127.0.0.1:65536",
            "tcp://127.0.0.1:+1", "tcp://127.0.0.1:-1", "tcp://eth0;127.0.0.1:1", "tcp://127.0.0.1:5555:1", "udp://x",
            "inproc://x", "ipc://", "ipc://*", "ipc://@abstract", "127.0.0.1:5555", "",
            "ipc:///" + String(repeating: "x", count: 200),
        ])
    func refused(text: String) {
        #expect { try WireAddress(text, for: .connecting) } throws: { error in
            guard let error = error as? MMedError else { return false }
            return error.kind == .badConfig && !error.place.isEmpty && !error.mend.isEmpty
        }
    }

    @Test("a foreign host is refused with the reason that keys are not built yet")
    func keys() {
        #expect { try ZeroMQCoordinatorEndpoint(listeningAt: "tcp://0.0.0.0:5555") } throws: { error in
            "\(error)".contains("keys") && "\(error)".contains("tcp://0.0.0.0:5555")
        }
    }

    @Test("a port or socket in use is one clear error", arguments: ["tcp", "ipc"])
    func inUse(scheme: String) async throws {
        let folder = try TemporaryFolder()
        let first = try Sample.listening(scheme == "ipc" ? folder.address : "tcp://127.0.0.1:*")
        #expect { try Sample.listening(first.boundAddress) } throws: { error in
            guard let error = error as? MMedError else { return false }
            return error.kind == .tryAgain && error.place == first.boundAddress && error.mend.contains("stop it")
                && error.mend.contains("port 0 ")
        }
        await first.close()
        let second = try Sample.listening(first.boundAddress)
        await second.close()
    }

    @Test("a Unix socket needs a folder of the owner's alone")
    func folders() throws {
        let folder = try TemporaryFolder()
        chmod(folder.path, 0o755)
        #expect(throws: MMedError.self) { try WireAddress(folder.address, for: .listening) }
        chmod(folder.path, 0o700)
        #expect(try WireAddress(folder.address, for: .listening).path == folder.path + "/mmed.sock")
        #expect(throws: MMedError.self) { try WireAddress("ipc://\(folder.path)/no/mmed.sock", for: .listening) }
    }
}
