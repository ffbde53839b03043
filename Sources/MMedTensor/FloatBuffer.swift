import CKernels

/// Fixed-size fp32 storage, 64-byte aligned, on which every kernel works.
///
/// Indices outside `0..<count` are programmer errors and trap.
///
/// Proof: the class never moves or frees its memory before `deinit`, and holds no other mutable state. Two threads may use
/// one buffer at a time only on disjoint ranges, or for reading only: kernels write their result views alone, and each part
/// of a pool dispatch writes elements that no other part touches.
public final class FloatBuffer: @unchecked Sendable {
    /// Number of floats.
    public let count: Int
    let base: UnsafeMutablePointer<Float>

    /// `count` zeros.
    public init(count: Int) {
        precondition(count >= 0, "a buffer has no negative size")
        // The slack lets a vector load run past the last element; what it reads there is never used.
        let (padded, overflow) = count.addingReportingOverflow(64)
        precondition(!overflow && padded <= Int.max / 8, "a buffer of \(count) floats cannot be addressed")
        guard let memory = mmed_alloc_zeroed(padded) else {
            preconditionFailure("no memory for a buffer of \(count) floats")
        }
        self.count = count
        base = memory
    }

    /// A copy of `values`.
    public convenience init(_ values: [Float]) {
        self.init(count: values.count)
        copy(from: values, at: 0)
    }

    deinit { mmed_free(base) }

    /// One element.
    public subscript(index: Int) -> Float {
        get {
            precondition(index >= 0 && index < count, "index outside the buffer")
            return base[index]
        }
        set {
            precondition(index >= 0 && index < count, "index outside the buffer")
            base[index] = newValue
        }
    }

    /// A copy of the elements in `range`.
    public func array(_ range: Range<Int>) -> [Float] {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "range outside the buffer")
        return Array(UnsafeBufferPointer(start: base + range.lowerBound, count: range.count))
    }

    /// A copy of all elements.
    public func array() -> [Float] { array(0..<count) }

    /// Writes `values` from element `offset` on.
    public func copy(from values: [Float], at offset: Int) {
        precondition(offset >= 0 && offset <= count && values.count <= count - offset, "values outside the buffer")
        values.withUnsafeBufferPointer { source in
            if let start = source.baseAddress { (base + offset).update(from: start, count: source.count) }
        }
    }

    /// Writes `length` elements of `other`, from `otherOffset` on, to `offset`; the two may overlap in one buffer.
    public func copy(from other: FloatBuffer, at otherOffset: Int, count length: Int, to offset: Int) {
        precondition(length >= 0 && otherOffset >= 0 && offset >= 0, "a copy has no negative place")
        precondition(otherOffset <= other.count - length && offset <= count - length, "copy outside the buffer")
        (base + offset).update(from: other.base + otherOffset, count: length)
    }

    /// Sets every element to zero.
    public func zero() { zero(0..<count) }

    /// Sets the elements in `range` to zero.
    public func zero(_ range: Range<Int>) {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "range outside the buffer")
        (base + range.lowerBound).update(repeating: 0, count: range.count)
    }
}
