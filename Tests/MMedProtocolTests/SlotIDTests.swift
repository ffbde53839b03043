import MMedCore
import Testing

@testable import MMedProtocol

@Suite struct SlotIDTests {
    private func slot(_ parts: [Int32]) -> SlotID {
        SlotID(
            stage: parts[0], track: parts[1], step: parts[2], question: parts[3], guideline: parts[4], sample: parts[5])
    }

    /// The order of every sum: stage first, sample last, as numbers and not as text.
    @Test func slotsAreOrderedByTheirIndices() {
        let ordered: [[Int32]] = [
            [0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 2], [0, 0, 0, 0, 0, 10], [0, 0, 0, 0, 1, 0], [0, 0, 0, 1, 0, 0],
            [0, 0, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0], [0, 9, 0, 0, 0, 0], [0, 10, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0],
        ]
        let slots = ordered.map(slot)
        #expect(slots.reversed().sorted() == slots)
        for left in slots.indices {
            for right in slots.indices { #expect((slots[left] < slots[right]) == (left < right)) }
        }
        #expect(slots[2].description == "0/0/0/0/0/10")
    }

    @Test func shardsAreOrderedByTheirIndices() {
        let ordered: [[Int32]] = [
            [0, 0, 0, 0, 2], [0, 0, 0, 0, 10], [0, 0, 0, 1, 0], [0, 0, 1, 0, 0], [0, 1, 0, 0, 0],
        ]
        let shards = ordered.map { ShardID(stage: $0[0], track: $0[1], step: $0[2], update: $0[3], shard: $0[4]) }
        #expect(shards.reversed().sorted() == shards)
    }

    /// A change of these numbers changes every sample of every run: old runs could not be repeated any more.
    @Test func randomKeysAreFixedForever() {
        #expect(slot([0, 0, 0, 0, 0, 0]).randomKey(seed: 0) == 15_677_568_071_506_604_742)
        #expect(slot([1, 2, 3, 4, 5, 6]).randomKey(seed: 7) == 5_321_401_744_354_225_803)
        #expect(slot([.max, .max, .max, .max, .max, .max]).randomKey(seed: .max) == 1_694_542_421_859_844_154)
    }

    @Test func randomKeysTellSlotsAndSeedsApart() {
        var keys: Set<UInt64> = []
        var count = 0
        for seed in [0, 1, UInt64.max] {
            for part in 0..<6 {
                for value in [1, 2, 255, 256, 65_536] as [Int32] {
                    var parts: [Int32] = [0, 0, 0, 0, 0, 0]
                    parts[part] = value
                    keys.insert(slot(parts).randomKey(seed: seed))
                    count += 1
                }
            }
            keys.insert(slot([0, 0, 0, 0, 0, 0]).randomKey(seed: seed))
            count += 1
        }
        #expect(keys.count == count)
    }
}
