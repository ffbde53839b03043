/// exp and log in plain IEEE arithmetic: no C library stands below this room, and the same input gives the same bits on
/// every machine. Both are within 1 ulp of the true value; the tests hold them against the C library.
public enum Elementary {
    /// The high part of ln 2 ends in 20 zero bits, so that its product with an exponent is exact; low is the rest.
    private static let ln2High = 0x1.62e42feep-1
    private static let ln2Low = 0x1.a39ef35793c76p-33

    /// 1/2!, 1/3! ... 1/14!: with |r| <= ln 2 / 2 the first term left out is below 2^-59 of the sum.
    private static let factorialReciprocals: [Double] = {
        var reciprocals: [Double] = []
        var factorial = 1.0
        for n in 2...14 {
            factorial *= Double(n)
            reciprocals.append(1 / factorial)
        }
        return reciprocals
    }()

    /// 2/3, 2/5 ... 2/25: the series of 2 atanh(s) after its first term; with |s| <= 0.1716 it is below 2^-63 beyond.
    private static let atanhCoefficients: [Double] = (1...12).map { 2 / Double(2 * $0 + 1) }

    /// e to the power x; infinity above 709.79, 0 below -745.14, NaN for NaN.
    public static func exp(_ x: Double) -> Double {
        if x.isNaN { return x }
        if x > 710 { return .infinity }
        if x < -746 { return 0 }
        let exponent = (x * 0x1.71547652b82fep+0).rounded()  // 1 / ln 2
        let high = x - exponent * ln2High
        let low = exponent * ln2Low
        let r = high - low
        var tail = 0.0
        for reciprocal in factorialReciprocals.reversed() { tail = tail * r + reciprocal }
        // The rounding of r is given back: high - low is r to twice the precision.
        let mantissa = 1 + (high + (r * r * tail - low))
        return scaled(mantissa, by: Int(exponent))
    }

    /// The natural logarithm; -infinity at 0, NaN below 0 and for NaN.
    public static func log(_ x: Double) -> Double {
        if x.isNaN || x < 0 { return .nan }
        if x == 0 { return -.infinity }
        if x == .infinity { return x }
        var exponent = Double(x.exponent)
        var mantissa = x.significand
        if mantissa > 0x1.6a09e667f3bcdp+0 {  // sqrt 2
            mantissa *= 0.5
            exponent += 1
        }
        // log(1 + f) = 2 atanh(s), s = f / (2 + f), and 2s = f - f^2/2 + s f^2/2, which keeps the exact f in front.
        let f = mantissa - 1
        let s = f / (2 + f)
        let square = s * s
        var series = 0.0
        for coefficient in atanhCoefficients.reversed() { series = (series + coefficient) * square }
        let half = 0.5 * f * f
        return exponent * ln2High - ((half - (s * (half + series) + exponent * ln2Low)) - f)
    }

    /// mantissa times 2^exponent, rounded once; in two factors because 2^exponent alone may be out of range.
    private static func scaled(_ mantissa: Double, by exponent: Int) -> Double {
        if exponent > 1023 { return mantissa * 0x1p1023 * power(exponent - 1023) }
        if exponent < -1022 { return mantissa * power(exponent + 1022) * 0x1p-1022 }
        return mantissa * power(exponent)
    }

    private static func power(_ exponent: Int) -> Double {
        Double(sign: .plus, exponent: exponent, significand: 1)
    }
}
