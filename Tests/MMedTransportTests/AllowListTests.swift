import MMedCore
import MMedProtocol
import Testing

@testable import MMedTransport

@Suite("Who may connect")
struct AllowListTests {
    @Test("Z85 is that of ZeroMQ's RFC 32, and nothing that is none is read")
    func z85() throws {
        let bytes: [UInt8] = [0x86, 0x4F, 0xD2, 0x6F, 0xB5, 0x59, 0xF7, 0x5B]
        #expect(Z85.encode(bytes) == "HelloWorld")
        #expect(Z85.decode("HelloWorld") == bytes)
        #expect(Z85.encode([1, 2, 3]) == nil)
        #expect(Z85.decode("%nSc0") == [255, 255, 255, 255])
        for text in ["Hello Worl", "HelloWorl", "Hell\"World", "#####", "%nSc1", "Hell\u{E9}World"] {
            #expect(Z85.decode(text) == nil, "\(text)")
        }
        for key in 0..<50 {
            let noise = Sample.noise(32, key: UInt64(key))
            #expect(try Z85.decode(#require(Z85.encode(noise))) == noise)
        }
        #expect(PublicKey("HelloWorld") == nil)
    }

    @Test("libzmq's own keys are read, and each public key is that of its secret")
    func libzmqAgrees() throws {
        for _ in 0..<20 {
            let pair = try KeyPair.generate()
            #expect(pair.publicKey.bytes.count == 32)
            #expect(pair.secretKey.publicKey == pair.publicKey)
        }
    }

    @Test("a list is read line by line, and its names tell keys apart")
    func reading() throws {
        let scratch = try KeyScratch()
        let keys = try (0..<3).map { _ in try KeyPair.generate().publicKey }
        let head = AllowList.format + "\n"
        func read(_ lines: String...) throws -> AllowList {
            try AllowList.read(try scratch.write("workers.allow", head + lines.joined(separator: "\n")))
        }
        let list = try read(
            "# two", "worker \(keys[0]) rollout a", "", "  worker \(keys[1]) learner b.c",
            "#worker \(keys[2]) learner d")
        #expect(list.all.map(\.description) == ["rollout a", "learner b.c"])
        #expect(list.identity(of: keys[0].text)?.name.text == "a")
        #expect(list.identity(of: keys[2].text) == nil)
        #expect(try read().count == 0)
        for (line, says) in [
            ("worker \(keys[1]) cook b", "expected \"worker"), ("worker \(keys[1]) learner", "expected \"worker"),
            ("worker \(keys[1]) learner b c", "expected \"worker"), ("worker abc learner b", "expected \"worker"),
            ("workers \(keys[1]) learner b", "expected \"worker"), ("worker \(keys[1]) learner B", "expected \"worker"),
            ("worker \(keys[0]) learner b", "stands twice"), ("worker \(keys[1]) rollout a", "stands twice"),
            ("worker \(keys[1]) learner a.b", "stands for too"),
        ] {
            let error = try #require(keyError { _ = try read("worker \(keys[0]) rollout a", line) }, "\(line)")
            #expect(error.kind == .badConfig && error.place == "\(scratch.path)/workers.allow:3", "\(error)")
            #expect(error.problem.contains(says), "\(error)")
        }
        let other = try scratch.write("x", "worker")
        #expect(keyError { _ = try AllowList.read(other) }?.problem.contains("format") == true)
    }

    @Test("a key stands for its name and those below it")
    func names() throws {
        let identity = Identity(
            key: try KeyPair.generate().publicKey, role: .rollout, name: try #require(Name("gpu-7")))
        for (name, isPermitted) in [
            ("gpu-7", true), ("gpu-7.1", true), ("gpu-7.x.y", true), ("gpu-71", false), ("gpu-7-1", false),
            ("gpu", false),
        ] {
            #expect(identity.permits(try #require(Name(name))) == isPermitted, "\(name)")
        }
    }

    @Test("what changes between two lists is told by key, role and name")
    func changes() throws {
        let keys = try (0..<4).map { _ in try KeyPair.generate().publicKey }
        func identity(_ key: Int, _ role: WorkerRole, _ name: String) throws -> Identity {
            Identity(key: keys[key], role: role, name: try #require(Name(name)))
        }
        let old = try AllowList([identity(0, .rollout, "a"), identity(1, .rollout, "b"), identity(2, .learner, "c")])
        let new = try AllowList([identity(0, .rollout, "a"), identity(1, .learner, "b"), identity(3, .learner, "c")])
        let changes = AllowListChanges(from: old, to: new)
        #expect(changes.added == [try identity(1, .learner, "b"), try identity(3, .learner, "c")])
        #expect(changes.removed == [try identity(1, .rollout, "b"), try identity(2, .learner, "c")])
        #expect(AllowListChanges(from: new, to: new) == AllowListChanges(from: old, to: old))
    }

    @Test("only a CURVE connection of this endpoint has a key at the door")
    func requests() throws {
        let key = try KeyPair.generate().publicKey
        func request(_ frames: [String], _ credentials: [UInt8]?) -> ZapRequest? {
            ZapRequest(frames.map { Array($0.utf8) } + (credentials.map { [$0] } ?? []))
        }
        let good = ["1.0", "7", "mmed", "127.0.0.1", "", "CURVE"]
        #expect(request(good, key.bytes)?.key == key)
        #expect(request(good, key.bytes)?.id == Array("7".utf8))
        #expect(request(["1.0", "7", "mmed", "::1", "", "NULL"], nil)?.address == "::1")
        #expect(request(["1.0", "7", "mmed", "::1", "", "NULL"], nil)?.key == nil)
        for frames in [["1.0", "7", "other", "", "", "CURVE"], ["1.0", "7", "mmed", "", "", "PLAIN"]] {
            #expect(request(frames, key.bytes)?.key == nil)
        }
        #expect(request(good, Array(key.bytes.dropLast()))?.key == nil)
        #expect(request(good + ["x"], key.bytes)?.key == nil)
        #expect(request(["2.0"] + good.dropFirst(), key.bytes) == nil)
        #expect(request(Array(good.prefix(5)), nil) == nil)
    }
}
