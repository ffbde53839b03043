import Foundation
import MMedCore
import MMedScheduling
import Testing

@testable import MMedStore

/// What a power failure may leave of a journal between two acknowledgements: of the sectors that were written since the
/// first one any may be there and any may not, whatever their order, and the file may have either length.
@Suite struct CrashStateTests {
    /// The bytes of the database and of its log.
    private struct Files: Equatable {
        var database: [UInt8]
        var log: [UInt8]

        init(of journal: String) {
            database = [UInt8](FileManager.default.contents(atPath: journal) ?? Data())
            log = [UInt8](FileManager.default.contents(atPath: journal + "-wal") ?? Data())
        }

        func write(to journal: String) throws {
            try? FileManager.default.removeItem(atPath: journal + "-shm")
            try Data(database).write(to: URL(fileURLWithPath: journal))
            try Data(log).write(to: URL(fileURLWithPath: journal + "-wal"))
        }
    }

    private static let sector = 512

    /// SplitMix64.
    private struct Draw {
        var state: UInt64
        mutating func word() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var word = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
            word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
            return word ^ (word >> 31)
        }
        mutating func below(_ bound: Int) -> Int { Int(word() % UInt64(bound)) }
    }

    /// Sectors of the later log that are other than in the earlier one, where it is that long.
    private func changed(_ former: Files, _ latter: Files) -> [Int] {
        stride(from: 0, to: latter.log.count, by: Self.sector).filter { start in
            let range = start..<min(start + Self.sector, latter.log.count)
            return range.upperBound > former.log.count || former.log[range] != latter.log[range]
        }
    }

    /// The earlier log with some of the later one's sectors; what was never written reads as zeros or as the disk's dirt.
    private func mix(_ former: Files, _ latter: Files, _ changed: [Int], _ draw: inout Draw) -> Files {
        var files = former
        let length =
            draw.below(2) == 0
            ? latter.log.count
            : former.log.count
                + draw.below(
                    max(1, latter.log.count - former.log.count))
        let dirt = UInt8(truncatingIfNeeded: draw.below(3) == 0 ? draw.below(256) : 0)
        while files.log.count < length { files.log.append(dirt) }
        // A prefix as often as any subset: writes come to the disk in their order more often than not.
        let prefix = draw.below(2) == 0 ? draw.below(changed.count + 1) : nil
        let chance = draw.below(4) == 0 ? 100 : draw.below(101)
        for (index, start) in changed.enumerated() where prefix.map({ index < $0 }) ?? (draw.below(100) < chance) {
            guard start < files.log.count else { continue }
            let range = start..<min(start + Self.sector, latter.log.count, files.log.count)
            files.log.replaceSubrange(range, with: latter.log[range])
        }
        return files
    }

    /// Failure 10 of docs/RELIABILITY.md; `make crash` looks at more states.
    @Test func row10_anyLossOfUnsynchronisedSectorsLeavesAcknowledgedGroupsWhole() async throws {
        let wanted = ProcessInfo.processInfo.environment["MMED_CRASH_STATES"].flatMap { Int($0) } ?? 400
        let seed = ProcessInfo.processInfo.environment["MMED_CRASH_SEED"].flatMap { UInt64($0) } ?? 10
        let scratch = try JournalScratch()
        let journal = try Journal(path: scratch.journal)
        var moments = [Files(of: scratch.journal)]
        var heads = [try journal.head()]
        for group in 0..<40 {
            let step = Int32(group)
            let paths = (0..<Int32(1 + group % 7)).map { Story.path($0, sample: 0, step: step) }
            try await journal.append(paths + [.session(epoch: UInt64(group + 4))])
            moments.append(Files(of: scratch.journal))
            heads.append(try journal.head())
        }
        var draw = Draw(state: seed)
        let victim = try JournalScratch()
        var (kept, lost, states) = (0, 0, 0)
        while states < wanted {
            let place = draw.below(moments.count - 1)
            let (former, latter) = (moments[place], moments[place + 1])
            // Where the log was moved into the database in between, the disk was synchronised in between too.
            guard former.database == latter.database, latter.log.count > former.log.count else { continue }
            states += 1
            try mix(former, latter, changed(former, latter), &draw).write(to: victim.journal)
            let end = JournalEnd(beside: victim.journal)
            try? FileManager.default.removeItem(atPath: end.path)
            end.note(heads[place])
            let again = try Journal(path: victim.journal)
            let head = try again.verify()
            try again.verifyTail(from: heads[place])
            if head == heads[place + 1] { kept += 1 } else { lost += 1 }
            #expect(
                head == heads[place] || head == heads[place + 1],
                "seed \(seed), state \(states): \(head.sequence) records, \(heads[place].sequence) were acknowledged")
            try again.close()
        }
        print(
            "crash states: \(states), seed \(seed): the group under way is there in \(kept), absent in \(lost); 0 acknowledged lost"
        )
        #expect(kept > states / 50 && lost > states / 50, "\(kept) with the group under way, \(lost) without")
    }
}
