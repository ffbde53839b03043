import Crypto
import Foundation
public import MMedCore
import MMedFormats

/// SHA-256 (FIPS 180-4), the name of every blob and the proof of every adapter.
public enum ContentDigest {
    static let pieceBytes = 1 << 20

    /// Digest of bytes.
    public static func of(_ bytes: [UInt8]) -> MMedCore.Digest { digest(SHA256.hash(data: bytes)) }

    /// Digest of so many bytes that are read in pieces of 1 MiB.
    public static func of(
        count: Int, _ piece: (_ offset: Int, _ count: Int) throws -> [UInt8]
    ) throws -> MMedCore.Digest {
        var hash = SHA256()
        for offset in stride(from: 0, to: count, by: pieceBytes) {
            hash.update(data: try piece(offset, min(pieceBytes, count - offset)))
        }
        return digest(hash.finalize())
    }

    /// Digest of what the parts are one behind the other.
    static func ofParts(_ parts: [BlobPart]) throws -> MMedCore.Digest {
        var hash = SHA256()
        for part in parts { try part.forEachPiece { hash.update(data: $0) } }
        return digest(hash.finalize())
    }

    /// Digest of a file, read in pieces of 1 MiB. Throws `badData` when it cannot be read.
    public static func ofFile(_ path: String) throws -> MMedCore.Digest {
        let file = try MappedFile(path: path)
        return try of(count: file.count) { offset, count in
            defer { file.release(at: offset, count: count) }
            return try file.bytes(at: offset, count: count)
        }
    }

    private static func digest(_ hash: SHA256.Digest) -> MMedCore.Digest {
        guard let digest = MMedCore.Digest(bytes: Array(hash)) else { preconditionFailure("SHA-256 has 32 bytes") }
        return digest
    }
}
