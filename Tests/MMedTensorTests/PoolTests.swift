import MMedTensor
import Testing

@Suite struct PoolTests {
    @Test(arguments: [1, 2, 5])
    func everyPartRunsOnce(threads: Int) {
        let pool = ComputePool(threads: threads)
        for parts in [0, 1, 2, 3, 17, 1000] {
            let counts = FloatBuffer(count: max(parts, 1))
            for _ in 0..<20 { pool.run(parts: parts) { counts[$0] += 1 } }
            #expect(counts.array(0..<parts).allSatisfy { $0 == 20 }, "\(parts) parts on \(threads) threads")
        }
    }

    @Test func aJobInsideAPartRunsInLine() {
        let pool = ComputePool(threads: 3)
        let counts = FloatBuffer(count: 12)
        pool.run(parts: 4) { outer in
            pool.run(parts: 3) { inner in counts[outer * 3 + inner] += 1 }
        }
        #expect(counts.array().allSatisfy { $0 == 1 })
    }

    @Test func callersFromSeveralTasksTakeTurns() async {
        let pool = ComputePool(threads: 2)
        let sums = await withTaskGroup(of: Float.self) { group in
            for caller in 0..<8 {
                group.addTask {
                    let cells = FloatBuffer(count: 50)
                    for _ in 0..<50 { pool.run(parts: 50) { cells[$0] += Float(caller) } }
                    return cells.array().reduce(0, +)
                }
            }
            var sums: [Float] = []
            for await sum in group { sums.append(sum) }
            return sums.sorted()
        }
        #expect(sums == (0..<8).map { Float($0 * 2500) })
    }

    @Test func poolsComeAndGo() {
        for threads in 1...20 {
            let cells = FloatBuffer(count: 8)
            ComputePool(threads: threads).run(parts: 8) { cells[$0] = 1 }
            #expect(cells.array().reduce(0, +) == 8)
        }
    }
}
