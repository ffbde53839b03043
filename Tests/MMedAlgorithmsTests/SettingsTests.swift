import MMedAlgorithms
import MMedCore
import Testing

@Suite struct SettingsTests {
    private func refuses(_ place: String, _ body: () throws -> Void) {
        let error = #expect(throws: MMedError.self) { try body() }
        #expect(error?.place == place)
        #expect(error?.kind == .badConfig)
        #expect(error?.mend.isEmpty == false)
    }

    @Test func namesAreThoseOfTheTable() throws {
        #expect(Baseline.names == ["within", "pooled", "blend", "auto"])
        #expect(AdvantageScale.allCases.map(\.rawValue) == ["none", "question", "batch", "guideline"])
        #expect(LossTarget.allCases.map(\.rawValue) == ["conditioned", "stripped"])
        #expect(StrippedWeights.allCases.map(\.rawValue) == ["token", "sequence", "none"])
        #expect(Importance.allCases.map(\.rawValue) == ["token", "sequence"])
        #expect(Aggregation.allCases.map(\.rawValue) == ["constant", "sequence", "token"])
        #expect(ProximalPolicy.allCases.map(\.rawValue) == ["step", "roll"])
        for name in Baseline.names {
            #expect(try Baseline(name: name, lambda: name == "blend" ? 0.5 : nil).name == name)
        }
        #expect(try Baseline(name: "blend", lambda: 0.5) == .blend(lambda: 0.5))
    }

    @Test func baselinesAreChecked() {
        refuses("advantages.lambda") { _ = try Baseline(name: "blend", lambda: nil) }
        refuses("advantages.lambda") { _ = try Baseline(name: "auto", lambda: 0.5) }
        refuses("gba.baseline") { _ = try Baseline(name: "mean", lambda: nil, section: "gba") }
        for lambda in [-0.1, 1.1, .nan, .infinity] {
            refuses("advantages.lambda") { try AdvantageSettings(baseline: .blend(lambda: lambda)).validate() }
            #expect(throws: MMedError.self) {
                try stepAdvantages([], settings: AdvantageSettings(baseline: .blend(lambda: lambda)))
            }
        }
    }

    @Test func weightsAreChecked() throws {
        try AdvantageSettings(weights: .list([1, 2])).validate(guidelineCount: 2)
        refuses("advantages.weights") { try AdvantageSettings(weights: .list([1, 2])).validate(guidelineCount: 3) }
        refuses("advantages.weights") { try AdvantageSettings(weights: .list([])).validate() }
        for weight in [0, -1, .nan, .infinity] as [Double] {
            refuses("advantages.weights[1]") { try AdvantageSettings(weights: .list([1, weight])).validate() }
        }
    }

    @Test func lossesAreChecked() throws {
        try LossSettings(clip: nil, truncation: .infinity).validate()
        try LossSettings(target: .stripped, klCoefficient: 0.1).validate()
        refuses("advantages.updatesPerStep") { try LossSettings(updatesPerStep: 0).validate() }
        for low in [-0.1, 1.1, .nan] {
            refuses("advantages.clipLow") { try LossSettings(clip: ClipRange(low: low, high: 0)).validate() }
        }
        for high in [-0.1, .nan, .infinity] {
            refuses("loss.clipHigh") { try LossSettings(clip: ClipRange(low: 0, high: high)).validate(section: "loss") }
        }
        for beta in [-0.1, .nan, .infinity] {
            refuses("advantages.beta") { try LossSettings(klCoefficient: beta).validate() }
        }
        refuses("advantages.kl") { try LossSettings(klCoefficient: 0.1, klEstimator: .k1).validate() }
        for limit in [0, 0.9, -1, .nan] as [Double] {
            refuses("advantages.truncation") { try LossSettings(truncation: limit).validate() }
        }
        refuses("advantages.prox") { try LossSettings(target: .stripped, prox: .roll).validate() }
        refuses("advantages.resamplingRounds") { try AlgorithmSettings(resamplingRounds: -1).validate() }
        refuses("advantages.truncation") { try AlgorithmSettings(loss: LossSettings(truncation: 0)).validate() }
    }

    @Test func whatALearnerMustCompute() {
        #expect(!LossSettings().needsProximalLogprobs && !LossSettings().needsReferenceLogprobs)
        #expect(LossSettings(updatesPerStep: 2).needsProximalLogprobs)
        #expect(!LossSettings(prox: .roll, updatesPerStep: 2).needsProximalLogprobs)
        #expect(LossSettings(klCoefficient: 0.1).needsReferenceLogprobs)
    }
}
