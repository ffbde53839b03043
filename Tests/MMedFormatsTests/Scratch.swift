import Foundation
import MMedCore
import Testing

@testable import MMedFormats

/// A folder of a test's own, removed at the end.
final class Scratch {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "/mmed-formats-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String, _ bytes: [UInt8]) throws -> String {
        let path = path + "/" + name
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        return path
    }

    func file(_ name: String, _ text: String) throws -> String { try file(name, Array(text.utf8)) }

    func read(_ name: String) throws -> [UInt8] {
        Array(try Data(contentsOf: URL(fileURLWithPath: path + "/" + name)))
    }

    var names: [String] { (try? FileManager.default.contentsOfDirectory(atPath: path).sorted()) ?? [] }
}

/// Expects one `badData` error whose text holds `part`.
func expectBadData(
    _ part: String, _ comment: String = "", sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () throws -> Void
) {
    do {
        try body()
        Issue.record("nothing was thrown, expected \"\(part)\" \(comment)", sourceLocation: sourceLocation)
    } catch let error as MMedError {
        #expect(error.kind == .badData, "\(error)", sourceLocation: sourceLocation)
        #expect(error.description.contains(part), "\(error) \(comment)", sourceLocation: sourceLocation)
    } catch {
        Issue.record("\(error) \(comment)", sourceLocation: sourceLocation)
    }
}

/// Expects that each mutation of the bytes is read or refused with an `MMedError`; a trap would end the test run.
func mutate(_ bytes: [UInt8], count: Int, seed: UInt64, within: Range<Int>? = nil, _ read: ([UInt8]) throws -> Void) {
    let random = CounterRandom(key: seed)
    let range = within ?? 0..<bytes.count
    for turn in 0..<count {
        var changed = bytes
        for flip in 0..<UInt64(1 + turn % 3) {
            let words = random.block(UInt64(turn), flip)
            let place = range.lowerBound + Int(words.0) % range.count
            let choices: [UInt8] = [0, 1, 0x7F, 0x80, 0xFF, UInt8(truncatingIfNeeded: words.2)]
            changed[place] = choices[Int(words.1) % choices.count]
        }
        do {
            try read(changed)
        } catch is MMedError {
        } catch {
            Issue.record("seed \(seed), turn \(turn): \(error)")
        }
    }
}
