import CKernels

/// Causal softmax attention: for each run, query at position p and head h,
/// out = sum over j ≤ p of softmax_j(scale · q · k_j) · v_j.
///
/// The bits of an output depend on its query and on the keys and values at positions 0...p alone: not on how the chain is cut,
/// on the other queries and runs, or on the threads. Runs that share their first segments (the same views) in adjacent order
/// share the work of reading them. Source: Vaswani et al., "Attention Is All You Need", 2017.
public func attentionForward(runs: [AttentionRun], shape: AttentionShape, pool: ComputePool) {
    let inputs = runs.map { run in
        RawRun(q: run.q, out: run.out, d: nil, chain: run.chain, gradient: nil, startPosition: run.startPosition)
    }
    withRawRuns(inputs, shape: shape) { job in
        guard let plan = mmed_attention_plan(&job) else { preconditionFailure("no memory for attention") }
        defer { mmed_attention_plan_free(plan) }
        let shared = Borrowed(plan)
        pool.run(parts: mmed_attention_forward_parts(plan)) { part in
            mmed_attention_forward_part(shared.value, part)
        }
    }
}

/// The backward of `attentionForward`: overwrites dQ, adds to the gradients of keys and values.
///
/// A row of keys must stand at the same position in every chain that holds it. Each gradient row receives its queries in the
/// order of the runs, then of position, then of head, whatever the threads. Probabilities are computed anew.
public func attentionBackward(runs: [AttentionGradientRun], shape: AttentionShape, pool: ComputePool) {
    let inputs = runs.map { run in
        RawRun(
            q: run.q, out: run.dQ, d: run.dOut, chain: run.chain, gradient: run.gradient,
            startPosition: run.startPosition)
    }
    withRawRuns(inputs, shape: shape) { job in
        guard let plan = mmed_attention_plan(&job) else { preconditionFailure("no memory for attention") }
        defer { mmed_attention_plan_free(plan) }
        let shared = Borrowed(plan)
        while mmed_attention_next_chunk(plan) != 0 {
            pool.run(parts: mmed_attention_score_parts(plan)) { part in
                mmed_attention_score_part(shared.value, part)
            }
            pool.run(parts: mmed_attention_key_parts(plan)) { part in
                mmed_attention_key_part(shared.value, part)
            }
        }
    }
}

/// One run of either pass: `out` is out or dQ, `d` is dOut.
private struct RawRun {
    let q: Matrix
    let out: Matrix
    let d: Matrix?
    let chain: KeyChain
    let gradient: KeyChain?
    let startPosition: Int
}

/// Writes the runs out as C structures that live during `body`.
private func withRawRuns(_ runs: [RawRun], shape: AttentionShape, _ body: (inout mmed_attention) -> Void) {
    var segments: [mmed_segment] = []
    var firsts: [Int] = []
    for run in runs {
        precondition(run.q.columns == shape.heads * shape.headDim, "attention: queries of another shape")
        firsts.append(segments.count)
        for (index, segment) in run.chain.segments.enumerated() {
            precondition(segment.keys.columns == shape.kvHeads * shape.headDim, "attention: keys of another shape")
            let mirror = run.gradient?.segments[index]
            segments.append(
                mmed_segment(
                    keys: UnsafePointer(segment.keys.start), values: UnsafePointer(segment.values.start),
                    d_keys: mirror?.keys.start, d_values: mirror?.values.start, key_stride: segment.keys.rowStride,
                    value_stride: segment.values.rowStride, d_key_stride: mirror?.keys.rowStride ?? 0,
                    d_value_stride: mirror?.values.rowStride ?? 0, count: segment.keys.rows))
        }
    }
    withExtendedLifetime(runs) {
        segments.withUnsafeBufferPointer { segments in
            let raw = zip(runs, firsts).map { run, first in
                mmed_run(
                    q: UnsafePointer(run.q.start), q_stride: run.q.rowStride, out: run.out.start,
                    out_stride: run.out.rowStride, d: run.d.map { UnsafePointer($0.start) },
                    d_stride: run.d?.rowStride ?? 0, queries: run.q.rows, start: run.startPosition,
                    segments: segments.baseAddress.map { $0 + first }, segment_count: run.chain.segments.count)
            }
            raw.withUnsafeBufferPointer { raw in
                var job = mmed_attention(
                    runs: raw.baseAddress, run_count: raw.count, heads: shape.heads, kv_heads: shape.kvHeads,
                    head_dim: shape.headDim, scale: shape.scale)
                body(&job)
            }
        }
    }
}
