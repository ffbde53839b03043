import Crypto
import Foundation
public import MMedCore
import MMedFormats

/// SHA-256 (FIPS 180-4), the name of every blob and the proof of every adapter.
public enum ContentDigest {
    /// Digest of bytes.
    public static func of(_ bytes: [UInt8]) -> MMedCore.Digest { digest(SHA256.hash(data: bytes)) }

    /// Digest of a file, read in pieces of 1 MiB. Throws `badData` when it cannot be read.
    public static func ofFile(_ path: String) throws -> MMedCore.Digest {
        let file = try MappedFile(path: path)
        var hash = SHA256()
        var offset = 0
        while offset < file.count {
            let length = min(1 << 20, file.count - offset)
            hash.update(data: try file.bytes(at: offset, count: length))
            offset += length
        }
        return digest(hash.finalize())
    }

    private static func digest(_ hash: SHA256.Digest) -> MMedCore.Digest {
        guard let digest = MMedCore.Digest(bytes: Array(hash)) else { preconditionFailure("SHA-256 has 32 bytes") }
        return digest
    }
}
