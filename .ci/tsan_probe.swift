// Shows what ThreadSanitizer reports: `probe clean` hands arrays over under a lock, and whoever holds the last reference
// writes in place, which is no race; `probe race` counts up in one array from two threads, which is one.
import Glibc

// Unchecked: the lock is held wherever letters and end are used; `count` has none on purpose, it is the race to be found.
final class Shared: @unchecked Sendable {
    private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    var letters: [[UInt8]] = []
    var isOver = false
    var count = [0]

    init() { pthread_mutex_init(lock, nil) }

    func locked<Value>(_ body: () -> Value) -> Value {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        return body()
    }
}

let shared = Shared()

func takeLetters() {
    while !shared.locked({ shared.isOver }) {
        var taken = shared.locked {
            defer { shared.letters = [] }
            return shared.letters
        }
        for index in taken.indices { taken[index][0] = 7 }
    }
}

@inline(never)
func sum(_ letter: [UInt8]) -> Int { letter.reduce(0) { $0 + Int($1) } }

func leaveLetters() {
    for round in 0..<20_000 {
        let letter = [UInt8](repeating: UInt8(round & 255), count: 300)
        shared.locked { shared.letters.append(letter) }
        // Read after it was handed over, by a reference of this thread's own, which then goes.
        if sum(letter) < 0 { print("never") }
    }
    shared.locked { shared.isOver = true }
}

func count() { for _ in 0..<1_000 { shared.count[0] &+= 1 } }

let isRace = CommandLine.arguments.contains("race")
var thread = pthread_t()
pthread_create(&thread, nil, { _ in (isRace ? count : takeLetters)(); return nil }, nil)
(isRace ? count : leaveLetters)()
pthread_join(thread, nil)
