import Dispatch
import MMedLocks
import Testing

@Suite struct LockedTests {
    @Test func oneThreadAtATime() {
        let pair = Locked((first: 0, second: 0))
        DispatchQueue.concurrentPerform(iterations: 8) { _ in
            for _ in 0..<10_000 {
                pair.withLock {
                    $0.first += 1
                    #expect($0.first == $0.second + 1)
                    $0.second += 1
                }
            }
        }
        #expect(pair.withLock { $0 } == (80_000, 80_000))
    }

    private struct Stop: Error, Equatable {}

    @Test func anErrorLeavesItUnlocked() {
        let value = Locked(1)
        #expect(throws: Stop()) {
            try value.withLock { value throws(Stop) in
                value = 2
                throw Stop()
            }
        }
        #expect(value.withLock { $0 } == 2)
    }

    private final class Witness: Sendable {}

    @Test func theValueGoesWithItsLock() {
        weak var seen: Witness?
        do {
            let witness = Witness()
            seen = witness
            let locked = Locked<Witness?>(witness)
            #expect(locked.withLock { $0 === witness })
        }
        #expect(seen == nil)
    }
}
