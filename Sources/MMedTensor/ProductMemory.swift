import Glibc
public import MMedCore

/// OpenBLAS's own memory.
public enum ProductMemory {
    /// Address space that OpenBLAS 0.3.21 takes for each thread at its first product, and keeps (128 MiB), with half as much
    /// for what the product is made of.
    static let bytesPerThread = 192 << 20

    /// Throws `tryAgain` when the process may not have the address space for products on so many threads at once (`ulimit -v`, a
    /// strict overcommit). OpenBLAS does not fail then: it asks again, for ever, on a busy processor.
    public static func require(threads: Int) throws(MMedError) {
        let (bytes, isTooMuch) = bytesPerThread.multipliedReportingOverflow(by: max(1, threads))
        // Taken and given back at once; no page of it is touched.
        let block = isTooMuch ? nil : mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let block, block != MAP_FAILED else {
            throw MMedError(
                .tryAgain, at: "matrix products",
                "the system grants no \(isTooMuch ? Int.max >> 20 : bytes >> 20) MiB of address space",
                mend: "raise the limit (ulimit -v) or free memory")
        }
        munmap(block, bytes)
    }
}
