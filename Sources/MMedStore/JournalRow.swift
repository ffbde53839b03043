import Crypto
import Foundation
import GRDB
import MMedCore
import MMedScheduling

/// A record as a row: indices for looking it up, a JSON text for users' queries, and the bulk numbers.
struct JournalRow {
    var kind: String
    /// stage, track, step, question, guideline, sample, as far as the record has them.
    var place: [Int64?]
    var body: String
    /// Little-endian: token ids, log-probs, letter log-probs of a path.
    var bulk: [UInt8] = []

    init(kind: String, place: [Int64?], body: String, bulk: [UInt8] = []) {
        self.kind = kind
        self.place = place + Array(repeating: nil, count: 6 - place.count)
        self.body = body
        self.bulk = bulk
    }

    init(_ row: Row) throws {
        kind = row["kind"]
        place = ["stage", "track", "step", "question", "guideline", "sample"].map { row[$0] }
        body = row["body"]
        bulk = [UInt8](row["bulk"] as Data)
    }

    /// SHA-256 over what came before and this row: a row that was changed, removed or inserted later breaks every one after it.
    func chain(after former: [UInt8], sequence: Int64) -> [UInt8] {
        var hash = SHA256()
        hash.update(data: former)
        func add(_ value: Int64) { withUnsafeBytes(of: value.littleEndian) { hash.update(bufferPointer: $0) } }
        func add(_ text: String) {
            add(Int64(text.utf8.count))
            hash.update(data: Array(text.utf8))
        }
        add(sequence)
        add(kind)
        for part in place { add(part ?? -1) }
        add(body)
        add(Int64(bulk.count))
        hash.update(data: bulk)
        return Array(hash.finalize())
    }
}

/// What is wrong with a row.
struct BadRow: Error, CustomStringConvertible {
    let description: String
    init(_ what: String) { description = "\(what) cannot be read" }
}

/// Little-endian 32-bit numbers.
enum Bulk {
    static func bytes(_ values: [Int32]) -> [UInt8] { values.flatMap { bytes(UInt32(bitPattern: $0)) } }
    static func bytes(_ values: [Float]) -> [UInt8] { values.flatMap { bytes($0.bitPattern) } }

    private static func bytes(_ word: UInt32) -> [UInt8] {
        [0, 8, 16, 24].map { UInt8(truncatingIfNeeded: word >> $0) }
    }

    private static func words(_ bytes: ArraySlice<UInt8>) -> [UInt32] {
        stride(from: bytes.startIndex, to: bytes.endIndex, by: 4).map { at in
            bytes[at..<(at + 4)].reversed().reduce(0) { $0 << 8 | UInt32($1) }
        }
    }

    static func ints(_ bytes: ArraySlice<UInt8>) -> [Int32] { words(bytes).map { Int32(bitPattern: $0) } }
    static func floats(_ bytes: ArraySlice<UInt8>) -> [Float] { words(bytes).map { Float(bitPattern: $0) } }
}
