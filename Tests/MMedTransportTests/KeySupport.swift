import Foundation
import MMedCore
import MMedProtocol
import Testing

@testable import MMedTransport

/// A coordinator's key with keys for workers, made in memory.
struct Keyring {
    let coordinator: CoordinatorKey

    init() throws { coordinator = try .generate() }

    func worker(_ role: WorkerRole, _ name: String) throws -> WorkerKey {
        try .generate(role: role, name: try #require(Name(name)), coordinator: coordinator.publicKey)
    }

    func listening(
        _ address: String = "tcp://127.0.0.1:*", to workers: [WorkerKey],
        onRefusal: @escaping @Sendable (KeyRefusal) -> Void = { _ in }
    ) throws -> ZeroMQCoordinatorEndpoint {
        try ZeroMQCoordinatorEndpoint(
            listeningAt: address,
            keys: CoordinatorKeys(
                key: coordinator, workers: try AllowList(workers.map(\.identity)), onRefusal: onRefusal))
    }

    func connected(_ key: WorkerKey, to coordinator: ZeroMQCoordinatorEndpoint) throws -> ZeroMQWorkerEndpoint {
        try ZeroMQWorkerEndpoint(connectingTo: coordinator.boundAddress, key: key)
    }
}

/// A folder that is removed with all that is in it.
final class KeyScratch {
    let path: String

    init() throws {
        var template = Array("/tmp/mmed-keys-XXXXXX".utf8CString)
        path = try #require(mkdtemp(&template).map { String(cString: $0) })
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func write(_ name: String, _ text: String, mode: mode_t = 0o600) throws -> String {
        let place = path + "/" + name
        try Data(text.utf8).write(to: URL(fileURLWithPath: place))
        chmod(place, mode)
        return place
    }
}

/// The error that a call ends with.
func keyError(_ body: () throws -> Void) -> MMedError? {
    do {
        try body()
        return nil
    } catch { return error as? MMedError }
}

func fileMode(_ path: String) -> mode_t {
    var status = stat()
    return lstat(path, &status) == 0 ? status.st_mode & 0o7777 : 0
}

func fileText(_ path: String) -> String { (try? String(contentsOfFile: path, encoding: .utf8)) ?? "" }
