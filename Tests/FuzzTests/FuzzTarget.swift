import MMedCodec
import MMedCore

/// One parser under fuzzing: the properties that hold for any bytes, and the inputs that a search begins with.
struct FuzzTarget: Sendable {
    /// Name of its folder in `Corpus` and of its `make fuzz TARGET=…`.
    let name: String
    /// Bytes of the longest input that the search makes.
    let lengthMost: Int
    /// The committed corpus, by file name.
    let seeds: @Sendable () throws -> [(name: String, bytes: [UInt8])]
    /// Returns when all properties hold, whether the bytes were read or refused; throws a `Finding` otherwise.
    let check: @Sendable ([UInt8]) throws -> Void

    /// Every target. A new one is added here, and nowhere else.
    static let all: [FuzzTarget] = [
        .wire, .gguf, .safetensors, .json, .tokenizer, .adapter, .text, .dataset, .config, .journal,
    ]

    static func named(_ name: String) -> FuzzTarget? { all.first { $0.name == name } }
}

/// A property that did not hold.
struct Finding: Error, CustomStringConvertible {
    let description: String
}

/// Throws a finding unless the property holds.
func demand(_ holds: Bool, _ property: @autoclosure () -> String) throws {
    if !holds { throw Finding(description: property()) }
}

/// Bytes that were allocated since the program began. The fuzzing program counts them by hooks of its sanitizer; in the test
/// suite they stay 0, and budgets are not checked.
enum AllocationMeter {
    /// Written by the allocation hook on the one thread that parses; a count from another thread could only be lost.
    nonisolated(unsafe) static var allocatedBytes = 0
}

/// What the parser made of its bytes; nil when it refused them with an error of the project. Another error is a finding, and
/// so is a reading that allocated more than `budget` bytes, counted without what was freed in between.
func reading<Value>(_ what: String, budget: Int, _ parse: () throws -> Value) throws -> Value? {
    let before = AllocationMeter.allocatedBytes
    var value: Value?
    do {
        value = try parse()
    } catch is MMedError {
    } catch is CodecError {
    } catch let finding as Finding {
        throw finding
    } catch {
        throw Finding(description: "\(what) threw \(type(of: error)) \(error), expected an MMedError or a CodecError")
    }
    let allocated = AllocationMeter.allocatedBytes - before
    try demand(allocated <= budget, "\(what) allocated \(allocated) bytes, more than its budget of \(budget)")
    return value
}

/// The value of a parser that may not refuse: what was read once can be written and read again.
func rereading<Value>(_ what: String, _ parse: () throws -> Value) throws -> Value {
    do {
        return try parse()
    } catch {
        throw Finding(description: "\(what) failed on what was read before: \(error)")
    }
}
