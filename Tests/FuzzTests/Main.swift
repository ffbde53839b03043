import Glibc

// The entry points of libFuzzer, whose `main` this program has: `MMED_FUZZ_TARGET=wire mmed-fuzz [options] FOLDERS`. The
// target is a variable of the environment, for libFuzzer starts itself again with the arguments that it understands.

@_silgen_name("__sanitizer_install_malloc_and_free_hooks")
private func installHooks(
    _ allocated: @convention(c) (UnsafeRawPointer?, Int) -> Void, _ freed: @convention(c) (UnsafeRawPointer?) -> Void
) -> CInt

private let target: FuzzTarget = {
    let name = getenv("MMED_FUZZ_TARGET").map { String(cString: $0) } ?? ""
    guard let target = FuzzTarget.named(name) else {
        say("MMED_FUZZ_TARGET is \"\(name)\", expected one of \(FuzzTarget.all.map(\.name).joined(separator: ", "))")
        exit(64)
    }
    return target
}()

private func say(_ message: String) {
    let line = Array("mmed-fuzz: \(message)\n".utf8)
    _ = line.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
}

/// Called once, before libFuzzer reads its arguments: installs the allocation hooks, and gives the length of the target's inputs.
@_cdecl("LLVMFuzzerInitialize")
public func initialise(
    _ count: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>
) -> CInt {
    let given = UnsafeBufferPointer(start: arguments.pointee, count: Int(count.pointee))
    if !given.contains(where: { $0.map { String(cString: $0).hasPrefix("-max_len=") } ?? false }) {
        let longer = UnsafeMutableBufferPointer<UnsafeMutablePointer<CChar>?>.allocate(capacity: given.count + 2)
        _ = longer.update(fromContentsOf: given + [strdup("-max_len=\(target.lengthMost)"), nil])
        if let base = longer.baseAddress { (arguments.pointee, count.pointee) = (base, count.pointee + 1) }
    }
    guard installHooks({ _, bytes in AllocationMeter.allocatedBytes &+= bytes }, { _ in }) > 0 else {
        say("the allocation hooks could not be installed, build with AddressSanitizer")
        exit(70)
    }
    return 0
}

/// Called for each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    do {
        try target.check(Array(UnsafeBufferPointer(start: bytes, count: count)))
    } catch {
        // libFuzzer catches the signal and keeps the input.
        say("finding in \(target.name): \(error)")
        abort()
    }
    return 0
}
