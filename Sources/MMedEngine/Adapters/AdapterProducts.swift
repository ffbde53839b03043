import MMedCore
import MMedTensor

/// The low-rank products of one site for the rows of a batch that share an adapter.
struct AdapterProducts {
    let adapter: Adapter
    let site: Adapter.Site
    let layer: Int
    let pool: ComputePool

    private var weights: Adapter.SiteWeights? { adapter.sites[layer][site.rawValue] }

    /// inner [M, rank x parts] = x [M, input] · Aᵀ; y [M, output] += scale · inner · Bᵀ, part by part.
    func forward(x: Matrix, inner: Matrix, y: Matrix) {
        guard let weights else { return }
        let rank = adapter.layout.settings.rank
        matmul(x: x, w: weights.a, y: inner, pool: pool)
        for part in weights.parts {
            matmul(
                x: inner.columns(part.innerStart..<part.innerStart + rank), w: part.b,
                y: y.columns(part.outputStart..<part.outputStart + part.pair.output), scale: adapter.scale,
                accumulate: true, pool: pool)
        }
    }

    /// Adds to the gradients of A and B, and to dX when it is wanted. `inner` is that of the forward pass, `dInner` is
    /// scratch of the same shape.
    func backward(
        dY: Matrix, x: Matrix, inner: Matrix, dInner: Matrix, dX: Matrix?, gradient: FloatBuffer
    ) {
        guard let weights else { return }
        let rank = adapter.layout.settings.rank
        for part in weights.parts {
            let dOutput = dY.columns(part.outputStart..<part.outputStart + part.pair.output)
            let columns = part.innerStart..<part.innerStart + rank
            outerAccumulate(
                dY: dOutput, x: inner.columns(columns), into: gradient, offset: part.pair.offsetB,
                scale: adapter.scale, pool: pool)
            matmulTransposed(
                x: dOutput, w: part.b, y: dInner.columns(columns), scale: adapter.scale, pool: pool)
            outerAccumulate(
                dY: dInner.columns(columns), x: x, into: gradient, offset: part.pair.offsetA, pool: pool)
        }
        if let dX {
            matmulTransposed(x: dInner, w: weights.a, y: dX, accumulate: true, pool: pool)
        }
    }
}
