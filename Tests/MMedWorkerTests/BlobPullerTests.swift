import MMedCore
import MMedProtocol
import Testing

@testable import MMedWorker

@Suite(.timeLimit(.minutes(10))) struct BlobPullerTests {
    private let digest = Sample.digest(of: [1])
    private let piece = Limits.blobChunkBytes

    private func chunk(_ content: [UInt8], _ offset: Int, bytes: Int? = nil) -> [UInt8] {
        Array(content[offset..<min(content.count, offset + (bytes ?? piece))])
    }

    private func outcome(_ puller: inout BlobPuller) async -> BlobPuller.Outcome {
        await withCheckedContinuation { puller.wait(for: digest, $0) }
    }

    @Test func itAsksForTheFirstPieceAloneAndThenForAWindow() async throws {
        let content = Sample.noise(20 * piece + 5, key: 1)
        var puller = BlobPuller()
        #expect(puller.begin(digest) == [.init(digest: digest, offset: 0)])
        #expect(puller.begin(digest) == [], "a pull under way is not begun again")
        var open = puller.take(digest, offset: 0, totalBytes: content.count, bytes: chunk(content, 0))
        #expect(open.map(\.offset) == (1...8).map { $0 * piece })
        while !open.isEmpty {
            #expect(open.count <= Limits.blobRequestsOutstanding)
            let next = open.removeFirst()
            open += puller.take(
                digest, offset: next.offset, totalBytes: content.count, bytes: chunk(content, next.offset))
        }
        #expect(await outcome(&puller) == .whole(content))
    }

    @Test(arguments: [1 as UInt64, 2, 3, 4, 5, 6, 7, 8])
    func itEndsWithTheBytesWhateverIsLost(seed: UInt64) async throws {
        let random = CounterRandom(key: seed)
        var draws: UInt64 = 0
        func chance(_ perMille: UInt32) -> Bool {
            draws += 1
            return random.block(draws).0 % 1_000 < perMille
        }
        let content = Sample.noise(12 * piece + Int(random.block(0).0 % UInt32(piece)), key: seed)
        let box = PullerBox()
        let waiting = Task { await box.pull(digest) }
        _ = try await box.began.next("pull") { $0 }
        var open = [0]
        var turns = 0
        while await box.isUnderWay(digest) {
            turns += 1
            try #require(turns < 10_000, "seed \(seed): the pull does not end")
            if open.isEmpty || chance(30) {
                // A new connection loses what was asked for; a beat asks again for what stands still.
                open = await box.askAgain(isReconnected: chance(500))
                continue
            }
            #expect(open.count <= Limits.blobRequestsOutstanding, "seed \(seed)")
            let offset = open.removeFirst()
            if chance(100) { continue }
            let bytes = chunk(content, offset, bytes: chance(100) ? piece / 3 : nil)
            open += await box.take(digest, offset, content.count, bytes)
            // The same answer twice.
            if chance(50) { open += await box.take(digest, offset, content.count, bytes) }
        }
        #expect(await waiting.value == .whole(content), "seed \(seed)")
    }

    @Test func whatIsMissingEndsThePull() async {
        var puller = BlobPuller()
        _ = puller.begin(digest)
        puller.miss(digest)
        #expect(await outcome(&puller) == .missing)
        #expect(puller.begin(digest).count == 1, "it can be asked for again")
    }

    @Test func piecesOfAnotherLengthEndThePull() async {
        var puller = BlobPuller()
        _ = puller.begin(digest)
        let content = Sample.noise(3 * piece, key: 1)
        _ = puller.take(digest, offset: 0, totalBytes: content.count, bytes: chunk(content, 0))
        _ = puller.take(digest, offset: piece, totalBytes: content.count + 1, bytes: chunk(content, piece))
        #expect(await outcome(&puller) == .contradiction)
    }

    @Test(arguments: [0, -1, Limits.blobBytes + 1]) func aTotalOutOfRangeEndsThePull(total: Int) async {
        var puller = BlobPuller()
        _ = puller.begin(digest)
        _ = puller.take(digest, offset: 0, totalBytes: total, bytes: [1])
        #expect(await outcome(&puller) == .contradiction)
    }

    @Test func nobodyWaitsAfterTheEnd() async {
        var puller = BlobPuller()
        _ = puller.begin(digest)
        puller.abandon()
        #expect(await outcome(&puller) == .abandoned)
        #expect(puller.begin(digest) == [])
        #expect(await outcome(&puller) == .abandoned, "nothing begins any more, and nobody waits for it")
    }

    @Test func whoWaitsFirstHearsTheOutcomeToo() async throws {
        let lock = PullerBox()
        let waiting = Task { await lock.pull(digest) }
        _ = try await lock.began.next("pull") { $0 }
        _ = await lock.take(digest, 0, 3, [1, 2, 3])
        #expect(await waiting.value == .whole([1, 2, 3]))
    }

    @Test func whatComesUnaskedIsDropped() {
        var puller = BlobPuller()
        #expect(puller.take(digest, offset: 0, totalBytes: 3, bytes: [1, 2, 3]) == [])
        puller.miss(digest)
        #expect(puller.restart() == [])
        #expect(puller.nudge(after: 0) == [])
    }
}

private actor PullerBox {
    var puller = BlobPuller()
    let began = Mailbag<Bool>()

    func pull(_ digest: Digest) async -> BlobPuller.Outcome {
        _ = puller.begin(digest)
        return await withCheckedContinuation {
            puller.wait(for: digest, $0)
            began.add(true)
        }
    }

    func take(_ digest: Digest, _ offset: Int, _ total: Int, _ bytes: [UInt8]) -> [Int] {
        puller.take(digest, offset: offset, totalBytes: total, bytes: bytes).map(\.offset)
    }

    func askAgain(isReconnected: Bool) -> [Int] {
        (isReconnected ? puller.restart() : puller.nudge(after: 1)).map(\.offset)
    }

    func isUnderWay(_ digest: Digest) -> Bool { puller.isUnderWay(digest) }
}
