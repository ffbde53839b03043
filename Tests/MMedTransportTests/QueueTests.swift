import Glibc
import MMedLocks
import MMedProtocol
import Testing

@testable import MMedTransport

@Suite("Queues between threads", .timeLimit(.minutes(10)))
struct QueueTests {
    @Test("first in, first out, through growth and emptying")
    func fifo() {
        var fifo = Fifo<Int>()
        var (next, expected) = (0, 0)
        for round in 1...200 {
            for _ in 0..<(round * 7 % 60) {
                fifo.append(next)
                next += 1
            }
            for _ in 0..<(round * 5 % 50) {
                guard let item = fifo.popFirst() else { break }
                #expect(item == expected)
                expected += 1
            }
            #expect(fifo.count == next - expected)
            #expect(fifo.first == (fifo.isEmpty ? nil : expected))
        }
    }

    @Test("the inbound queue stops its thread when it is full and lets it go on at half")
    func inboundBound() async throws {
        let queue = InboundQueue<Int>(bell: try Bell())
        var pushed = 0
        while queue.hasRoom() {
            queue.push(pushed)
            pushed += 1
        }
        #expect(pushed == Limits.inboundQueueMessages)
        var taken = 0
        for await item in queue.stream {
            #expect(item == taken)
            taken += 1
            if taken == pushed / 2 { break }
        }
        #expect(queue.hasRoom())
        let large = InboundQueue<Int>(bell: try Bell())
        large.push(1, bytes: Limits.inboundQueueBytes)
        #expect(!large.hasRoom())
    }

    @Test("what was heard before the end can still be taken")
    func inboundEnd() async throws {
        let queue = InboundQueue<Int>(bell: try Bell())
        for number in 0..<10 { queue.push(number) }
        queue.end()
        queue.push(10)
        var taken: [Int] = []
        for await item in queue.stream { taken.append(item) }
        #expect(taken == Array(0..<10))
    }

    @Test("what is held is shown to a waiting reader in order, with what comes after it, and at the end")
    func inboundHeld() async throws {
        let queue = InboundQueue<Int>(bell: try Bell())
        async let all = queue.stream.reduce(into: []) { $0.append($1) }
        while queue.waitingCount < 1 { await Task.yield() }
        for number in 0..<3 { queue.push(number, isHeld: true) }
        #expect(queue.waitingCount == 1)
        queue.show()
        #expect(queue.waitingCount == 0)
        while queue.waitingCount < 1 { await Task.yield() }
        queue.push(3, isHeld: true)
        queue.push(4)
        while queue.waitingCount < 1 { await Task.yield() }
        queue.push(5, isHeld: true)
        queue.end()
        #expect(await all == Array(0..<6))
    }

    @Test("senders wait in order beyond the capacity, and closing ends their wait")
    func mailbox() async throws {
        let bell = try Bell()
        let mailbox = Mailbox<Int>(bell: bell, capacity: 100)
        await mailbox.post(0, bytes: 100)
        async let first: Void = mailbox.post(1, bytes: 60)
        while mailbox.waitingCount < 1 { await Task.yield() }
        async let second: Void = mailbox.post(2, bytes: 60)
        while mailbox.waitingCount < 2 { await Task.yield() }
        #expect(mailbox.take().letters == [0])
        bell.silence()
        mailbox.sent(bytes: 100)
        await first
        // Nobody else would wake the thread for the letter that moved up.
        #expect(isRung(bell))
        #expect(mailbox.take().letters == [1])
        mailbox.end()
        await second
        #expect(mailbox.take() == (letters: [], closing: true))
        #expect(!mailbox.postNow(3))
    }

    private func isRung(_ bell: Bell) -> Bool {
        var entry = pollfd(fd: bell.descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, 0) == 1
    }

    @Test("a locked value is changed by one at a time")
    func locked() async {
        let counter = Locked(0)
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<8 { group.addTask { for _ in 0..<1000 { counter.withLock { $0 += 1 } } } }
        }
        #expect(counter.withLock { $0 } == 8000)
    }
}
