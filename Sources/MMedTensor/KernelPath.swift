import CKernels

/// The instruction sets the kernels are compiled for. All give the same bits.
public enum KernelPath: Int32, Sendable, CaseIterable {
    /// The build's own target, no extension asked for.
    case portable = 0
    /// AVX2 with FMA.
    case avx2 = 1
    /// AVX-512 F, BW, DQ and VL.
    case avx512 = 2

    /// Whether this processor can run it.
    public var isSupported: Bool { mmed_path_supported(rawValue) != 0 }

    /// The path in use: the widest supported one, unless it was forced.
    public static var current: KernelPath { KernelPath(rawValue: mmed_path_current()) ?? .portable }

    /// Uses `path` from now on, in the whole process; for tests. False, and no change, when the processor lacks it.
    @discardableResult
    public static func force(_ path: KernelPath) -> Bool { mmed_path_force(path.rawValue) != 0 }
}
