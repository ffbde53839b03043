internal import Foundation
internal import MMedCore
internal import MMedTensor

/// A merged adapter and what is to be said of it.
public struct MergeResult: Sendable {
    /// Layout with scale 1, and the flat vector.
    public let adapter: AdapterWeights
    /// Conflicts, the methods side by side, residuals.
    public let report: MergeReport
}

/// Merges all matrices on `threads` threads at once and calls `progress` after each with how many are done, from one of
/// those threads. The result is the same bits for any number of threads and any order of the inputs. Memory: each
/// thread holds two dense copies of its matrix for every task vector. Throws `badData` and `badConfig` as
/// `MergePlan.init`, `internalError` when a decomposition does not converge, `tryAgain` without memory for the products.
public func merge(
    inputs: [MergeInput], settings: MergeSettings = MergeSettings(), threads: Int = 1,
    progress: (@Sendable (_ done: Int, _ of: Int) -> Void)? = nil
) throws -> MergeResult {
    let plan = try MergePlan(inputs: inputs, settings: settings)
    let desk = MergeDesk(matrixCount: plan.matrixCount)
    let threads = max(1, min(threads, plan.matrixCount))
    try ProductMemory.require(threads: threads)
    DispatchQueue.concurrentPerform(iterations: threads) { _ in
        while let index = desk.take() {
            let outcome = Result { try plan.mergeMatrix(index) }
            let done = desk.put(outcome, at: index)
            progress?(done, plan.matrixCount)
        }
    }
    return try plan.assemble(desk.all())
}

extension MergePlan {
    /// The adapter and the report of all matrices, given in any order.
    /// Throws `internalError` unless each matrix is there exactly once.
    public func assemble(_ matrices: [MergedMatrix]) throws -> MergeResult {
        let sorted = matrices.sorted { $0.index < $1.index }
        guard sorted.map(\.index) == Array(0..<matrixCount) else {
            throw MMedError(.internalError, "\(matrices.count) merged matrices do not cover \(matrixCount) once each")
        }
        var values: [Float] = []
        values.reserveCapacity(layout.parameterCount)
        for matrix in sorted {
            values += matrix.a
            values += matrix.b
        }
        return MergeResult(
            adapter: try AdapterWeights(layout: layout, values: values),
            report: MergeReport(plan: self, figures: sorted.map(\.figures)))
    }
}

/// Hands out matrices and takes their results.
// Proof of Sendable: every access to the stored properties that vary holds `lock`.
private final class MergeDesk: @unchecked Sendable {
    private let lock = NSLock()
    private var next = 0
    private var done = 0
    private var outcomes: [Result<MergedMatrix, any Error>?]

    init(matrixCount: Int) { outcomes = Array(repeating: nil, count: matrixCount) }

    /// The next matrix; nil when there is none, or when one has failed.
    func take() -> Int? {
        lock.withLock {
            guard next < outcomes.count else { return nil }
            next += 1
            return next - 1
        }
    }

    /// Keeps a result and tells how many there are.
    func put(_ outcome: Result<MergedMatrix, any Error>, at index: Int) -> Int {
        lock.withLock {
            outcomes[index] = outcome
            done += 1
            if case .failure = outcome { next = outcomes.count }
            return done
        }
    }

    /// All results in order, or the first failure.
    func all() throws -> [MergedMatrix] { try lock.withLock { outcomes }.compactMap { try $0?.get() } }
}
