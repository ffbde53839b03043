import MMedCore
import Testing

@testable import MMedFormats

@Suite struct JSONTests {
    private func parse(_ text: String) throws -> JSONValue { try JSONValue.parse(Array(text.utf8), at: "f") }

    @Test func everyKindOfValue() throws {
        let text = #" {"a":[1,-2.5e1,true,false,null,"x\n\"\\\/é\u00e9\ud83d\ude42"],"b":{},"c":[] } "#
        let value = try parse(text)
        guard case .object(let object) = value else {
            Issue.record("not an object")
            return
        }
        #expect(object.keys == ["a", "b", "c"])
        #expect(
            object["a"]
                == .array([.integer(1), .number(-25), .bool(true), .bool(false), .null, .string("x\n\"\\/éé🙂")]))
        #expect(try parse("9223372036854775807") == .integer(.max))
        #expect(try parse("9223372036854775808") == .number(0x1p63))
    }

    @Test func faultsNameLineAndColumn() {
        let faults: [(String, String)] = [
            ("", "f:1:1"), ("{", "expected a key"), ("[1,\n 2,\n x]", "f:3:2"), ("[1 2]", "expected a comma"),
            ("{\"a\" 1}", "expected a colon"), ("{\"a\":1,}", "expected a key"), ("[1,]", "expected a JSON value"),
            ("01", "end of the text"), ("-", "expected a digit"), ("1.", "expected a digit"),
            ("1e", "expected a digit"),
            ("1e999", "does not fit"), ("tru", "expected true"), ("NaN", "expected a JSON value"),
            ("\"a", "does not end"),
            ("\"\u{1}\"", "control character"), (#""\x""#, "unknown escape"), (#""\u12g4""#, "hexadecimal"),
            (#""\ud83d""#, "surrogate"), (#""\ud83dA""#, "surrogate"), (#""\udc00""#, "surrogate"),
            (#""\"#, "cut off"), ("{\"a\":1,\"a\":2}", "appears twice"), ("1 1", "end of the text"),
            (String(repeating: "[", count: 100_000), "deeper"),
        ]
        for (text, part) in faults {
            expectBadData(part, String(text.prefix(20))) { _ = try parse(text) }
        }
        expectBadData("UTF-8") { _ = try JSONValue.parse([0x22, 0xC3, 0x28, 0x22], at: "f") }
        expectBadData("f:7:2") { _ = try JSONValue.parse(Array("[x".utf8), at: "f", firstLine: 7) }
    }

    @Test func whatIsWrittenIsReadBack() throws {
        let value = JSONValue.object([
            ("z", .array([.integer(-3), .number(0.1), .number(1e300)])), ("a", .string("\u{1}\t\"\\/é🙂\r\n")),
            ("m", .object([("k", .null), ("j", .bool(true))])),
        ])
        #expect(try parse(value.text()) == value)
        #expect(value.text(sortingKeys: true).hasPrefix("{\"a\":"))
        #expect(try parse(value.text(indent: 2)) == value)
        #expect(
            JSONValue.object([("a", .array([])), ("b", .integer(1))]).text(indent: 2)
                == "{\n  \"a\": [],\n  \"b\": 1\n}")
    }

    @Test func recordsHaveOneForm() throws {
        let record = ["b/c": 0.5, "a": 1]
        #expect(try SortedJSON.line(record) == #"{"a":1,"b/c":0.5}"#)
        #expect(try String(decoding: SortedJSON.bytes(record, laidOut: true), as: UTF8.self).hasPrefix("{\n  \"a\""))
        #expect(throws: (any Error).self) { try SortedJSON.bytes(["a": Double.nan]) }
    }

    @Test func keysAreEqualByCodePoint() throws {
        let value = try parse("{\"\u{E9}\":1,\"e\u{301}\":2}")
        guard case .object(let object) = value else {
            Issue.record("not an object")
            return
        }
        #expect(object["\u{E9}"] == .integer(1) && object["e\u{301}"] == .integer(2))
    }

    @Test func changedBytesNeverTrap() {
        let text = #"{"a":[1,-2.5e1,true,null,"x\n\u00e9\ud83d\ude42é"],"b":{"c":[[[]]]}}"#
        mutate(Array(text.utf8), count: 5000, seed: 5) { _ = try JSONValue.parse($0, at: "f") }
    }
}
