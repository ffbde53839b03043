import Foundation
import MMedCore
import MMedProtocol
import Testing

@testable import MMedTransport

@Suite("Key files")
struct KeyFileTests {
    private let rollout = (name: Sample.name, role: WorkerRole.rollout)

    @Test("keys are made closed to others, read back as they were, and added one by one")
    func making() throws {
        let scratch = try KeyScratch()
        let folder = scratch.path + "/keys"
        let learner = (name: try #require(Name("gpu-7")), role: WorkerRole.learner)
        let first = try KeyFolder.extend(folder, workers: [rollout])
        #expect(first == ["coordinator.key", "worker-1.key", "workers.allow"].map { folder + "/" + $0 })
        let second = try KeyFolder.extend(folder, workers: [learner])
        #expect(second == ["gpu-7.key", "workers.allow"].map { folder + "/" + $0 })
        #expect(fileMode(folder) == 0o700)
        for path in first + second { #expect(fileMode(path) == 0o600, "\(path)") }

        let read = try KeyFolder.read(folder)
        #expect(read.workers.all.map(\.description) == ["learner gpu-7", "rollout worker-1"])
        for identity in read.workers.all {
            let key = try WorkerKey.read(KeyFolder.keyPath(folder, identity.name))
            #expect(key.identity == identity)
            #expect(key.coordinator == read.coordinator.publicKey)
            #expect(key.pair.secretKey.publicKey == identity.key)
        }
        #expect(read.coordinator.pair.secretKey.publicKey == read.coordinator.publicKey)
    }

    @Test("a key that is there is never overwritten, and nothing else is written then")
    func neverOverwritten() throws {
        let scratch = try KeyScratch()
        let folder = scratch.path + "/keys"
        _ = try KeyFolder.extend(folder, workers: [rollout])
        func content() -> [String] {
            (try? FileManager.default.contentsOfDirectory(atPath: folder).sorted().map { fileText(folder + "/" + $0) })
                ?? []
        }
        let before = content()
        let other = (name: try #require(Name("other")), role: WorkerRole.learner)
        let error = try #require(keyError { _ = try KeyFolder.extend(folder, workers: [other, rollout]) })
        #expect(error.kind == .usage && error.place.hasSuffix("worker-1.key"), "\(error)")
        #expect(keyError { _ = try KeyFolder.extend(folder, workers: [other, other]) }?.kind == .badConfig)
        let own = (name: try #require(Name("coordinator")), role: WorkerRole.learner)
        #expect(keyError { _ = try KeyFolder.extend(folder, workers: [own]) }?.kind == .usage)
        // A key whose line was removed, which is a revocation, does not come back to life either.
        #expect(content() == before)
        // The list is put in its place whole, with what its owner wrote into it.
        let list = KeyFolder.listPath(folder)
        _ = try scratch.write("keys/workers.allow", fileText(list) + "# by hand, without an end of line")
        _ = try KeyFolder.extend(folder, workers: [other])
        #expect(fileText(list).contains("# by hand, without an end of line\nworker "))
        #expect(try AllowList.read(list).count == 2)
    }

    @Test("a second keygen at the same time is kept out, and one that was cut off leaves nothing in the way")
    func twoAtOnce() throws {
        let scratch = try KeyScratch()
        let folder = scratch.path + "/keys"
        _ = try KeyFolder.extend(folder, workers: [])
        let lock = try GuardedFile.lock(folder)
        #expect(keyError { _ = try KeyFolder.extend(folder, workers: [rollout]) }?.kind == .tryAgain)
        GuardedFile.unlock(lock)
        _ = try scratch.write("keys/workers.allow.new", "half a li")
        _ = try KeyFolder.extend(folder, workers: [rollout])
        #expect(try KeyFolder.read(folder).workers.count == 1)
    }

    @Test("a file that others can reach is refused, and so is a link", arguments: [0o640, 0o604, 0o620, 0o677])
    func loose(mode: Int) throws {
        let scratch = try KeyScratch()
        let folder = scratch.path + "/keys"
        _ = try KeyFolder.extend(folder, workers: [rollout])
        let key = KeyFolder.keyPath(folder, rollout.name)
        for path in [key, KeyFolder.listPath(folder), KeyFolder.coordinatorPath(folder)] {
            chmod(path, mode_t(mode))
            let error = try #require(
                keyError {
                    if path == key { _ = try WorkerKey.read(path) } else { _ = try KeyFolder.read(folder) }
                })
            #expect(error.kind == .badConfig && error.place == path && error.mend.contains("chmod 600"), "\(error)")
            chmod(path, 0o600)
        }
        let link = scratch.path + "/link.key"
        symlink(key, link)
        #expect(keyError { _ = try WorkerKey.read(link) }?.problem.contains("symbolic link") == true)
    }

    @Test("a folder that others may enter is refused")
    func looseFolder() throws {
        let scratch = try KeyScratch()
        let folder = scratch.path + "/keys"
        _ = try KeyFolder.extend(folder, workers: [rollout])
        chmod(folder, 0o750)
        for error in [
            keyError { _ = try KeyFolder.read(folder) }, keyError { _ = try KeyFolder.extend(folder, workers: []) },
        ] {
            #expect(error?.kind == .badConfig && error?.mend.contains("chmod 700") == true)
        }
        let link = scratch.path + "/link"
        chmod(folder, 0o700)
        symlink(folder, link)
        #expect(keyError { _ = try KeyFolder.read(link) }?.kind == .badConfig)
        let missing = try #require(keyError { _ = try KeyFolder.read(scratch.path + "/none") })
        #expect(missing.kind == .badConfig && missing.mend.contains("mmed-coord keygen --output"))
    }

    @Test("another user's file is refused", .enabled(if: geteuid() == 0))
    func otherOwner() throws {
        let scratch = try KeyScratch()
        let folder = scratch.path + "/keys"
        _ = try KeyFolder.extend(folder, workers: [rollout])
        let key = KeyFolder.keyPath(folder, rollout.name)
        try #require(chown(key, 65_534, 65_534) == 0)
        #expect(keyError { _ = try WorkerKey.read(key) }?.problem.contains("belongs to user 65534") == true)
    }

    @Test("a pipe or a folder in the place of a key is refused and does not hold the program up")
    func noFile() throws {
        let scratch = try KeyScratch()
        let pipe = scratch.path + "/pipe.key"
        mkfifo(pipe, 0o600)
        for path in [pipe, scratch.path] {
            #expect(keyError { _ = try WorkerKey.read(path) }?.problem.contains("no ordinary file") == true)
        }
        let large = try scratch.write("large.key", String(repeating: "#\n", count: GuardedFile.bytesMax))
        #expect(keyError { _ = try WorkerKey.read(large) }?.problem.contains("bytes, expected at most") == true)
    }

    @Test("what is not a key file is refused with file and line, and without the secret")
    func malformed() throws {
        let scratch = try KeyScratch()
        let key = try Keyring().worker(.learner, "gpu-7")
        let good = key.fileText
        #expect(try WorkerKey.read(try scratch.write("good.key", good)).identity == key.identity)
        let secret = key.pair.secretKey.text
        let other = try KeyPair.generate()
        let bad: [(text: String, line: Int?, says: String)] = [
            ("", 1, "format line"), ("mmed-key 2\n", 1, "format line"), (good + "colour red\n", 9, "no such word"),
            (good + "role rollout\n", 9, "twice"), (good.replacing("role learner", with: "role cook"), 5, "rollout or"),
            (good.replacing("role learner\n", with: ""), 1, "\"role"),
            (good.replacing("name gpu-7", with: "name"), 4, "a word and its value"),
            (good.replacing("name gpu-7", with: "name ../x"), 4, "name:"),
            (good.replacing("kind worker", with: "kind coordinator"), nil, "not of kind worker"),
            (good.replacing("\(key.identity.key)", with: other.publicKey.text), 6, "do not belong together"),
            (good.replacing(secret, with: String(secret.dropLast())), 7, "secret-key"),
            (good.replacing(secret, with: secret.dropLast() + "~"), 7, "secret-key"),
            (good.replacing("secret-key ", with: ""), 7, "word and its value"),
            (good.replacing(key.coordinator.text, with: "x"), 8, "coordinator-key"),
        ]
        for (index, (text, line, says)) in bad.enumerated() {
            let path = try scratch.write("\(index).key", text)
            let error = try #require(keyError { _ = try WorkerKey.read(path) }, "\(text)")
            #expect(error.kind == .badConfig && !error.mend.isEmpty)
            #expect(error.place == (line.map { "\(path):\($0)" } ?? path), "\(error)")
            #expect(error.problem.contains(says), "\(error)")
            #expect(!"\(error)".contains(secret.prefix(20)), "a message tells a secret")
        }
        var bytes = Array(good.utf8)
        bytes[3] = 0xFF
        let path = scratch.path + "/bytes.key"
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        chmod(path, 0o600)
        #expect(keyError { _ = try WorkerKey.read(path) }?.problem.contains("UTF-8") == true)
    }

    @Test("a worker's key is none for a coordinator, nor the other way round")
    func otherKind() throws {
        let scratch = try KeyScratch()
        let folder = scratch.path + "/keys"
        _ = try KeyFolder.extend(folder, workers: [rollout])
        #expect(keyError { _ = try WorkerKey.read(KeyFolder.coordinatorPath(folder)) }?.kind == .badConfig)
        #expect(keyError { _ = try CoordinatorKey.read(KeyFolder.keyPath(folder, rollout.name)) }?.kind == .badConfig)
    }

    @Test("nothing prints a secret")
    func secretsStaySecret() throws {
        let key = try Keyring().worker(.learner, "gpu-7")
        let secret = key.pair.secretKey
        var dumped = ""
        dump(key, to: &dumped)
        for text in ["\(secret)", "\(key)", String(reflecting: key), dumped] {
            #expect(!text.contains(secret.text) && !text.contains("\(secret.bytes)"), "\(text)")
            #expect(!text.contains("\(secret.bytes[0]), \(secret.bytes[1])"))
        }
    }

    @Test("ephemeral keys are readable by their worker, and go with their folder")
    func ephemeral() throws {
        let scratch = try KeyScratch()
        _ = try KeyFolder.extend(scratch.path + "/keys", workers: [])
        let keys = try KeyFolder.read(scratch.path + "/keys")
        let folder = scratch.path + "/run-keys"
        for _ in 0..<2 {
            try KeyFolder.makeEphemeral(folder)
            let identity = try keys.ephemeralKey(for: rollout.name, role: .rollout, in: folder)
            let path = KeyFolder.keyPath(folder, rollout.name)
            #expect(fileMode(path) == 0o600 && fileMode(folder) == 0o700)
            let read = try WorkerKey.read(path)
            #expect(read.identity == identity && read.coordinator == keys.coordinator.publicKey)
        }
        #expect(try KeyFolder.read(scratch.path + "/keys").workers.count == 0)
        KeyFolder.removeEphemeral(folder)
        #expect(!FileManager.default.fileExists(atPath: folder))
    }
}
