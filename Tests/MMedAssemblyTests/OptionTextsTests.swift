import Testing

@testable import MMedAssembly

@Suite struct OptionTextsTests {
    @Test(arguments: [
        (
            ["diabetes", "no diabetes"], "glucose 91 is low, age 21 is low: both for no diabetes.",
            "glucose 91 is low, age 21 is low: both for diabetes."
        ),
        (
            ["no diabetes", "diabetes"], "high for diabetes, low for no diabetes: diabetes weighs more.",
            "high for no diabetes, low for diabetes: no diabetes weighs more."
        ),
        (
            ["ill", "well"], "still ill, the illness is ill-defined: ill",
            "still well, the illness is well-defined: well"
        ),
        (["a b", "b", "c"], "a b, then b, then c, then abc", "b, then c, then a b, then abc"),
        (["stage 3", "stage 30"], "stage 30 and stage 3.", "stage 3 and stage 30."),
    ])
    func everyOptionBecomesTheNext(options: [String], trace: String, expected: String) {
        #expect(OptionTexts(options).exchanged(in: trace) == expected)
    }

    @Test func aTraceWithoutAnOptionHasNoCounterpart() {
        #expect(OptionTexts(["ill", "well"]).exchanged(in: "still chilled") == nil)
        #expect(OptionTexts(["", "x"]).exchanged(in: "") == nil)
    }

    /// As often as there are options, it is the trace again.
    @Test func turningAllTheWayRoundChangesNothing() throws {
        let options = OptionTexts(["no relapse", "relapse", "remission"])
        let trace = "relapse, no relapse, remission; relapsed"
        var turned = trace
        for _ in 0..<3 { turned = try #require(options.exchanged(in: turned)) }
        #expect(turned == trace)
    }
}
