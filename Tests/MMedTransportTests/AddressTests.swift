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
            ("tcp://127.9.8.7:1", "tcp://127.9.8.7:1"), ("tcp://[::1]:5555", "tcp://[::1]:5555"),
            ("ipc:///run/x.sock", "ipc:///run/x.sock"),
        ])
    func taken(text: String, endpoint: String) throws {
        #expect(try WireAddress(text, for: .connecting).endpoint == endpoint)
    }

    @Test(
        "everything else is refused in words",
        arguments: [
            "tcp://0.0.0.0:5555", "tcp://*:5555", "tcp://10.0.0.1:5555", "tcp://example.org:5555", "tcp://127.0.0.1",
            "tcp://127.0.0.1:", "tcp://127.0.0.1:0", "tcp://127.0.0.1:*", "tcp://127.0.0.1:65536",
            "tcp://127.0.0.256:1", "tcp://127.0.0.1.example.org:1", "tcp://127.0.0.01:1", "tcp://127.0.0.1:+1",
            "tcp://127.0.0.1:-1", "tcp://eth0;127.0.0.1:1", "tcp://127.0.0.1:5555:1", "udp://x",
            "inproc://x", "ipc://", "ipc://*", "ipc://@abstract", "127.0.0.1:5555", "",
            "ipc:///" + String(repeating: "x", count: 200),
        ])
    func refused(text: String) {
        #expect { try WireAddress(text, for: .connecting) } throws: { error in
            guard let error = error as? MMedError else { return false }
            return error.kind == .badConfig && !error.place.isEmpty && !error.mend.isEmpty
        }
    }

    @Test("without keys a foreign host is refused with the command that makes some")
    func noKeys() {
        #expect { try ZeroMQCoordinatorEndpoint(listeningAt: "tcp://0.0.0.0:5555") } throws: { error in
            "\(error)".contains("mmed-coord keygen") && "\(error)".contains("tcp://0.0.0.0:5555")
        }
        #expect { try ZeroMQWorkerEndpoint(connectingTo: "tcp://192.0.2.1:5555") } throws: { error in
            "\(error)".contains("--key ") && "\(error)".contains("tcp://192.0.2.1:5555")
        }
    }

    @Test(
        "with keys a host of any kind is taken",
        arguments: [
            ("tcp://192.0.2.10:7450", "tcp://192.0.2.10:7450"),
            ("tcp://node-7.example.org:1", "tcp://node-7.example.org:1"),
            ("tcp://[2001:db8::1]:7450", "tcp://[2001:db8::1]:7450"), ("tcp://localhost:80", "tcp://127.0.0.1:80"),
        ])
    func withKeys(text: String, endpoint: String) throws {
        for purpose in [WireAddress.Purpose.connecting, .listening] {
            #expect(try WireAddress(text, for: purpose, hasKeys: true).endpoint == endpoint)
        }
    }

    @Test("a wildcard is for listening, and is called at loopback")
    func wildcards() throws {
        for (text, endpoint) in [("*", "0.0.0.0"), ("0.0.0.0", "0.0.0.0"), ("[::]", "[::]")] {
            #expect(
                try WireAddress("tcp://\(text):7450", for: .listening, hasKeys: true).endpoint
                    == "tcp://\(endpoint):7450")
            #expect(throws: MMedError.self) {
                try WireAddress("tcp://\(text):7450", for: .connecting, hasKeys: true)
            }
        }
        #expect(WireAddress.local("tcp://0.0.0.0:7450") == "tcp://127.0.0.1:7450")
        #expect(WireAddress.local("tcp://[::]:7450") == "tcp://[::1]:7450")
        #expect(WireAddress.local("tcp://192.0.2.10:7450") == "tcp://192.0.2.10:7450")
        #expect(WireAddress.local("ipc:///run/x.sock") == "ipc:///run/x.sock")
    }

    @Test(
        "keys do not open what ZeroMQ would read in its own way",
        arguments: [
            "tcp://eth0;127.0.0.1:1", "tcp://a b:1", "tcp://:1", "tcp://[::1:1", "tcp://[x]:1", "tcp://-a:1",
            "tcp://a/b:1", "udp://192.0.2.1:1", "inproc://x", "tcp://192.0.2.1", "tcp://192.0.2.1:0",
        ])
    func stillRefused(text: String) {
        #expect(throws: MMedError.self) { try WireAddress(text, for: .connecting, hasKeys: true) }
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
