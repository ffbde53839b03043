import MMedCore
import Testing

@testable import MMedFormats

@Suite struct SafetensorsTests {
    let scratch: Scratch

    init() throws { scratch = try Scratch() }

    private func file(_ header: String, data: [UInt8], length: UInt64? = nil) throws -> String {
        let count = length ?? UInt64(header.utf8.count)
        return try scratch.file("t.safetensors", littleEndianBytes(of: count) + Array(header.utf8) + data)
    }

    @Test func whatIsWrittenIsReadBackAndTheBytesAreFixed() throws {
        let tensors = [
            SafetensorsWriter.Tensor(name: "b", shape: [2, 2]), SafetensorsWriter.Tensor(name: "a", shape: [3]),
            SafetensorsWriter.Tensor(name: "none", shape: [0, 4]),
        ]
        let values: [String: [Float]] = ["a": [1, -2, 0.5], "b": [3, 4, 5, 6], "none": []]
        let path = scratch.path + "/w.safetensors"
        for order in [tensors, tensors.reversed()] {
            try SafetensorsWriter.write(to: path, order) { values[$0.name] ?? [] }
            let bytes = try scratch.read("w.safetensors")
            let head =
                #"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},"#
                + #""b":{"dtype":"F32","shape":[2,2],"data_offsets":[12,28]},"none":{"dtype":"F32","shape":[0,4],"data_offsets":[28,28]}}"#
            #expect(String(decoding: bytes[8..<8 + head.utf8.count], as: UTF8.self) == head)
            #expect((bytes.count - 28) % 8 == 0)
            let file = try SafetensorsFile(path: path)
            #expect(file.metadata == ["format": "pt"])
            for (name, expected) in values {
                #expect(try file.values(of: #require(file.tensors[name])) == expected)
            }
        }
        #expect(throws: MMedError.self) { try SafetensorsWriter.write(to: path, tensors) { _ in [1] } }
    }

    @Test func halvesAreDecoded() throws {
        let header =
            #"{"h":{"dtype":"F16","shape":[1,2],"data_offsets":[0,4]},"b":{"dtype":"BF16","shape":[2,1],"data_offsets":[4,8]}}"#
        let file = try SafetensorsFile(path: file(header, data: [0, 0x3C, 0, 0xC0, 0x80, 0x3F, 0, 0x40]))
        #expect(try file.values(of: #require(file.tensors["h"])) == [1, -2])
        var row: [Float] = [0]
        let tensor = try #require(file.tensors["b"])
        try row.withUnsafeMutableBufferPointer { try file.rows(of: tensor, 1..<2, into: $0) }
        #expect(row == [2])
    }

    @Test func eachFaultIsNamed() throws {
        func one(_ dtype: String, _ shape: String, _ offsets: String) -> String {
            #"{"t":{"dtype":\#(dtype),"shape":\#(shape),"data_offsets":\#(offsets)}}"#
        }
        let faults: [(String, String, Int, UInt64?)] = [
            ("length of the header is \(UInt64.max)", "{}", 0, .max), ("length of the header is 3", "{}", 0, 3),
            ("header has 1 bytes", "{}", 0, 1), ("not the JSON", "{]", 0, nil),
            ("an array, expected an object", "[]", 0, nil),
            ("dtype: is I64", one("\"I64\"", "[1]", "[0,8]"), 8, nil),
            ("dtype: is Q4_0", one("\"Q4_0\"", "[32]", "[0,18]"), 18, nil),
            ("dtype: is missing", #"{"t":{"shape":[1],"data_offsets":[0,4]}}"#, 4, nil),
            ("expected begin and end", one("\"F32\"", "[1]", "[0,5]"), 4, nil),
            ("expected begin and end", one("\"F32\"", "[1]", "[4,0]"), 4, nil),
            ("expected begin and end", one("\"F32\"", "[1]", "[-4,0]"), 4, nil),
            ("expected begin and end", one("\"F32\"", "[1]", "[0]"), 4, nil),
            ("expected a whole number", one("\"F32\"", "[1]", "[0,1e30]"), 4, nil),
            ("not shape [2]", one("\"F32\"", "[2]", "[0,4]"), 4, nil),
            ("not shape", one("\"F32\"", "[4611686018427387904,4611686018427387904]", "[0,4]"), 4, nil),
            ("not shape", one("\"F32\"", "[-1]", "[0,4]"), 4, nil),
            ("has 8 bytes of data", one("\"F32\"", "[1]", "[0,4]"), 8, nil),
            ("neither overlap nor leave gaps", one("\"F32\"", "[1]", "[4,8]"), 8, nil),
            (
                "neither overlap nor leave gaps",
                #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
                8, nil
            ),
            (
                "appears twice",
                #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
                8, nil
            ),
        ]
        for (part, header, dataCount, length) in faults {
            let path = try file(header, data: [UInt8](repeating: 0, count: dataCount), length: length)
            expectBadData(part, header) { _ = try SafetensorsFile(path: path) }
        }
    }

    @Test func truncatedAndChangedBytesNeverTrap() throws {
        let path = scratch.path + "/w.safetensors"
        try SafetensorsWriter.write(to: path, [.init(name: "a", shape: [2, 3]), .init(name: "b", shape: [4])]) {
            [Float](repeating: 1, count: $0.count)
        }
        let bytes = try scratch.read("w.safetensors")
        for count in 0..<bytes.count {
            let cut = MappedFile(copying: Array(bytes[..<count]), path: "cut.safetensors")
            expectBadData("cut.safetensors", "\(count)") { _ = try SafetensorsFile(cut) }
        }
        mutate(bytes, count: 3000, seed: 3) { changed in
            let file = try SafetensorsFile(MappedFile(copying: changed, path: "changed"))
            for tensor in file.tensors.values { _ = try file.values(of: tensor) }
        }
    }
}
