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

/// Merges as `MergePlan.merge` and gives the whole adapter. Throws `badData` and `badConfig` as `MergePlan.init`, and as that.
public func merge(
    inputs: [MergeInput], settings: MergeSettings = MergeSettings(), threads: Int = 1,
    progress: (@Sendable (_ done: Int, _ of: Int) -> Void)? = nil
) throws -> MergeResult {
    let plan = try MergePlan(inputs: inputs, settings: settings)
    let vector = FlatVector(count: plan.layout.parameterCount)
    let report = try plan.merge(threads: threads, progress: progress) { vector.append($0) }
    return MergeResult(adapter: try AdapterWeights(layout: plan.layout, values: vector.taken()), report: report)
}

extension MergePlan {
    /// Merges all matrices on `threads` threads at once and calls `progress` after each with how many are done, from one of
    /// those threads. `take` is handed the merged adapter's numbers in the layout's order, an A or a B at a time, by one thread
    /// at a time: nobody need have the whole in memory. The result is the same bits for any number of threads and any order of
    /// the inputs. Memory: each thread holds its matrix of every task vector, dense, and a few more. Throws what `take` throws,
    /// `internalError` when a decomposition does not converge, `tryAgain` without memory for the products, `badData` for a
    /// merged number that is not finite.
    public func merge(
        threads: Int = 1, progress: (@Sendable (_ done: Int, _ of: Int) -> Void)? = nil,
        take: @escaping @Sendable ([Float]) throws -> Void
    ) throws -> MergeReport {
        let threads = max(1, min(threads, matrixCount))
        let desk = MergeDesk(matrixCount: matrixCount, waitingMax: 2 * threads, take: take)
        try ProductMemory.require(threads: threads)
        DispatchQueue.concurrentPerform(iterations: threads) { _ in
            while let index = desk.next() {
                let outcome = Result { try mergeMatrix(index) }
                let done = desk.put(outcome, at: index)
                progress?(done, matrixCount)
            }
        }
        return MergeReport(plan: self, figures: try desk.figures())
    }
}

/// Hands out matrices and passes their results on in order.
// Proof of Sendable: every access to the stored properties that vary holds `lock`.
private final class MergeDesk: @unchecked Sendable {
    private let lock = NSCondition()
    private let matrixCount: Int
    private let waitingMax: Int
    private let take: @Sendable ([Float]) throws -> Void
    private var begun = 0
    private var done = 0
    /// Merged before one ahead of them was.
    private var waiting: [Int: MergedMatrix] = [:]
    /// Of the matrices passed on, in their order.
    private var passed: [MatrixFigures] = []
    private var failure: (any Error)?

    init(matrixCount: Int, waitingMax: Int, take: @escaping @Sendable ([Float]) throws -> Void) {
        self.matrixCount = matrixCount
        self.waitingMax = waitingMax
        self.take = take
    }

    /// The next matrix; nil when there is none, or when one has failed. Waits for the one that all others wait for.
    func next() -> Int? {
        lock.withLock {
            while failure == nil, begun - passed.count >= waitingMax { lock.wait() }
            guard begun < matrixCount, failure == nil else { return nil }
            begun += 1
            return begun - 1
        }
    }

    /// Takes a result and tells how many there are.
    func put(_ outcome: Result<MergedMatrix, any Error>, at index: Int) -> Int {
        lock.withLock {
            done += 1
            do {
                waiting[index] = try outcome.get()
                while failure == nil, let matrix = waiting.removeValue(forKey: passed.count) {
                    for values in [matrix.a, matrix.b] {
                        guard values.allSatisfy({ $0.isFinite }) else {
                            throw MMedError(
                                .badData, "a number of merged matrix \(passed.count) is not finite",
                                mend: "merge earlier versions")
                        }
                        try take(values)
                    }
                    passed.append(matrix.figures)
                }
            } catch { failure = failure ?? error }
            lock.broadcast()
            return done
        }
    }

    /// The figures of all matrices in order, or the first failure.
    func figures() throws -> [MatrixFigures] {
        try lock.withLock {
            if let failure { throw failure }
            return passed
        }
    }
}

/// A vector that grows to a known length.
// Proof of Sendable: `append` is called by one thread at a time, `taken` when they are done.
private final class FlatVector: @unchecked Sendable {
    private var values: [Float] = []

    init(count: Int) { values.reserveCapacity(count) }

    func append(_ piece: [Float]) { values += piece }

    func taken() -> [Float] {
        defer { values = [] }
        return values
    }
}
