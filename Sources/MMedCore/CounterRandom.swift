/// Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): a counter-based random function.
/// The same key and counter give the same four words on every machine, so a draw depends on its name and never on its turn.
public struct CounterRandom: Sendable {
    private let key: (UInt32, UInt32)

    /// A stream of its own for each 64-bit key.
    public init(key: UInt64) {
        self.key = (UInt32(truncatingIfNeeded: key), UInt32(truncatingIfNeeded: key >> 32))
    }

    /// The four words at a 128-bit counter, given as two halves.
    public func block(_ low: UInt64, _ high: UInt64 = 0) -> (UInt32, UInt32, UInt32, UInt32) {
        var (x0, x1) = (UInt32(truncatingIfNeeded: low), UInt32(truncatingIfNeeded: low >> 32))
        var (x2, x3) = (UInt32(truncatingIfNeeded: high), UInt32(truncatingIfNeeded: high >> 32))
        var (k0, k1) = key
        for _ in 0..<10 {
            let first = UInt64(0xD251_1F53) * UInt64(x0)
            let second = UInt64(0xCD9E_8D57) * UInt64(x2)
            (x0, x1, x2, x3) = (
                UInt32(truncatingIfNeeded: second >> 32) ^ x1 ^ k0, UInt32(truncatingIfNeeded: second),
                UInt32(truncatingIfNeeded: first >> 32) ^ x3 ^ k1, UInt32(truncatingIfNeeded: first)
            )
            k0 &+= 0x9E37_79B9
            k1 &+= 0xBB67_AE85
        }
        return (x0, x1, x2, x3)
    }

    /// Uniform in [0, 1) with 53 random bits, at a counter.
    public func uniform(_ counter: UInt64, _ high: UInt64 = 0) -> Double {
        let words = block(counter, high)
        let bits = UInt64(words.0) << 21 ^ UInt64(words.1) >> 11
        return Double(bits & ((1 << 53) - 1)) * 0x1p-53
    }
}

/// FNV-1a with a final mix (Steele et al. 2014, the SplitMix64 finaliser): a stable 64-bit name for bytes; no protection against an adversary.
public func stableHash(_ bytes: some Sequence<UInt8>) -> UInt64 {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for byte in bytes {
        hash ^= UInt64(byte)
        hash &*= 0x0000_0100_0000_01B3
    }
    hash = (hash ^ (hash >> 30)) &* 0xBF58_476D_1CE4_E5B9
    hash = (hash ^ (hash >> 27)) &* 0x94D0_49BB_1331_11EB
    return hash ^ (hash >> 31)
}
