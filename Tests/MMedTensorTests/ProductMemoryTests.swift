import MMedCore
import Testing

@testable import MMedTensor

@Suite struct ProductMemoryTests {
    @Test func whatThisProcessHasIsEnoughForOneThread() throws { try ProductMemory.require(threads: 1) }

    /// 2^47 bytes are all that a process of this processor can address.
    @Test(arguments: [1 << 21, 1 << 40, Int.max])
    func withoutAddressSpaceTheMendIsNamed(threads: Int) throws {
        let error = try #require(throws: MMedError.self) { try ProductMemory.require(threads: threads) }
        #expect(error.kind == .tryAgain && error.mend.contains("ulimit -v"), "\(error)")
    }
}
