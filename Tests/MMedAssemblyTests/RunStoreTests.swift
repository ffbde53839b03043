import Foundation
import MMedCore
import MMedStore
import Testing

@testable import MMedAssembly

/// What workers may pull: whole, unknown, or the end of the run.
@Suite struct RunStoreTests {
    private let scratch: Scratch
    private let folder: RunFolder
    private let journal: Journal

    init() throws {
        scratch = try Scratch()
        folder = try RunFolder(path: scratch.path + "/run")
        journal = try Journal(new: folder)
    }

    /// A store as a process begins with it: nothing is in memory.
    private func store() -> RunStore {
        RunStore(folder: folder, journal: journal, planDigest: ContentDigest.of([1]), layouts: [:], baseModel: "model")
    }

    private func path(_ digest: Digest) -> String { scratch.path + "/run/blobs/" + digest.hex }

    @Test func whatNobodyPutIsUnknownAndWhatWasPutIsServed() throws {
        let digest = try store().put([1, 2, 3])
        #expect(try store().blob(digest) == [1, 2, 3])
        #expect(try store().blob(ContentDigest.of([9])) == nil)
    }

    @Test func aDamagedBlobIsAnErrorThatNamesItsFile() throws {
        let digest = try store().put([1, 2, 3])
        try Data([1, 2, 4]).write(to: URL(filePath: path(digest)))
        let error = try #require(throws: MMedError.self) { try store().blob(digest) }
        #expect(error.kind == .badData && "\(error)".contains(digest.hex), "\(error)")
    }

    @Test func aBlobThatThisProcessPutAndThatIsGoneIsAnError() throws {
        let store = store()
        let digest = try store.put([1, 2, 3])
        try FileManager.default.removeItem(atPath: path(digest))
        // The newest are served from memory until others push them out.
        #expect(try store.blob(digest) == [1, 2, 3])
        for value in 0..<UInt8(12) { _ = try store.put([value]) }
        #expect(throws: MMedError.self) { try store.blob(digest) }
    }
}
