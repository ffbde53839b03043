import MMedCore

/// A 256-bit digest for the simulation, where SHA-256 would be most of the work. It guards against faults, not against an
/// adversary who looks for collisions.
enum Hashing {
    static func digest(of bytes: [UInt8]) -> Digest {
        var lanes: (UInt64, UInt64, UInt64, UInt64) = (
            0x243F_6A88_85A3_08D3, 0x1319_8A2E_0370_7344, 0xA409_3822_299F_31D0, 0x082E_FA98_EC4E_6C89
        )
        bytes.withUnsafeBytes { raw in
            var at = 0
            while at < raw.count {
                var word = UInt64(raw.count)
                if at + 8 <= raw.count {
                    word = UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: at, as: UInt64.self))
                } else {
                    for place in at..<raw.count { word = word << 8 | UInt64(raw[place]) }
                }
                lanes.0 = (lanes.0 ^ word) &* 0x9E37_79B9_7F4A_7C15
                lanes.1 = (lanes.1 &+ word ^ lanes.0 >> 29) &* 0xBF58_476D_1CE4_E5B9
                lanes.2 = (lanes.2 ^ lanes.1 >> 31 ^ word) &* 0x94D0_49BB_1331_11EB
                lanes.3 = (lanes.3 &+ lanes.2 >> 27) &* 0xD6E8_FEB8_6659_FD93 ^ word
                at += 8
            }
        }
        var out: [UInt8] = []
        out.reserveCapacity(32)
        for lane in [lanes.0, lanes.1, lanes.2 ^ lanes.0, lanes.3 ^ lanes.1] {
            let mixed = Chance.mix(lane &+ UInt64(bytes.count))
            for shift in stride(from: 0, to: 64, by: 8) {
                out.append(UInt8(truncatingIfNeeded: mixed >> UInt64(shift)))
            }
        }
        return Digest(bytes: out) ?? SimulatedPlan.model
    }
}

/// Words folded into 64 bits: names for what a computation was given.
struct Fold {
    private(set) var value: UInt64 = 0x51_7C_C1_B7_27_22_0A_95

    mutating func add(_ word: UInt64) { value = Chance.mix(value ^ word) &+ 0x9E37_79B9_7F4A_7C15 }
    mutating func add(_ number: Int) { add(UInt64(bitPattern: Int64(number))) }
    mutating func add(_ number: Double) { add(number.bitPattern) }
    mutating func add(_ ids: [Int32]) {
        add(ids.count)
        for id in ids { add(UInt64(UInt32(bitPattern: id))) }
    }
    mutating func add(_ digest: Digest?) {
        guard let bytes = digest?.bytes else { return add(UInt64(7)) }
        for start in stride(from: 0, to: 32, by: 8) {
            var word: UInt64 = 0
            for place in start..<(start + 8) { word = word << 8 | UInt64(bytes[place]) }
            add(word)
        }
    }
    mutating func add(_ reference: AdapterVersion) {
        add(reference.digest)
        add(reference.version)
    }

    struct AdapterVersion {
        let digest: Digest?
        let version: Int
    }
}
