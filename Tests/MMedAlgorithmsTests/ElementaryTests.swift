import Foundation
import MMedAlgorithms
import Testing

@Suite struct ElementaryTests {
    /// Distance in units of the last place of the expected value.
    private func ulps(_ value: Double, _ expected: Double) -> Double {
        value == expected ? 0 : (value - expected).magnitude / expected.ulp
    }

    @Test(arguments: [UInt64(1), 2, 3])
    func expIsWithinOneUlp(seed: UInt64) {
        var draw = Draw(seed)
        var worst = 0.0
        for range in [-1e-3...1e-3, -1.0...1, -20.0...20, -700.0...709] {
            for _ in 0..<20_000 {
                let x = draw.uniform(range)
                worst = max(worst, ulps(Elementary.exp(x), Foundation.exp(x)))
            }
        }
        #expect(worst <= 1, "\(worst) ulp")
    }

    @Test(arguments: [UInt64(1), 2, 3])
    func logIsWithinOneUlp(seed: UInt64) {
        var draw = Draw(seed)
        var worst = 0.0
        for _ in 0..<60_000 {
            let near = draw.uniform(0.5...2)
            let far = Double(sign: .plus, exponent: draw.int(-1000...1000), significand: 1 + draw.uniform())
            for x in [near, far] { worst = max(worst, ulps(Elementary.log(x), Foundation.log(x))) }
        }
        #expect(worst <= 1, "\(worst) ulp")
    }

    @Test func ends() {
        #expect(Elementary.exp(0) == 1)
        #expect(Elementary.exp(-0.0) == 1)
        #expect(Elementary.exp(.infinity) == .infinity)
        #expect(Elementary.exp(-.infinity) == 0)
        #expect(Elementary.exp(.nan).isNaN)
        #expect(Elementary.exp(709.8) == .infinity)
        #expect(Elementary.exp(709.7).isFinite)
        #expect(Elementary.exp(-745) == Foundation.exp(-745))
        #expect(ulps(Elementary.exp(-740), Foundation.exp(-740)) <= 1)
        #expect(Elementary.exp(-800) == 0)
        #expect(Elementary.log(1) == 0)
        #expect(Elementary.log(0) == -.infinity)
        #expect(Elementary.log(-1).isNaN)
        #expect(Elementary.log(.nan).isNaN)
        #expect(Elementary.log(.infinity) == .infinity)
        #expect(ulps(Elementary.log(Double.leastNonzeroMagnitude), Foundation.log(Double.leastNonzeroMagnitude)) <= 1)
        #expect(ulps(Elementary.log(.greatestFiniteMagnitude), Foundation.log(.greatestFiniteMagnitude)) <= 1)
    }
}
