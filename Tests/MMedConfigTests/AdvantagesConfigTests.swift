import MMedAlgorithms
import MMedCore
import Testing

@testable import MMedConfig

@Suite struct AdvantagesConfigTests {
    @Test func defaultsAreThoseOfTheAlgorithms() {
        #expect(AdvantagesConfig().advantageSettings == AdvantageSettings())
        #expect(AdvantagesConfig().lossSettings == LossSettings())
    }

    @Test(arguments: AdvantagesConfig.PresetName.allCases)
    func presetIsThatOfTheAlgorithms(name: AdvantagesConfig.PresetName) throws {
        let config = try decodeRun(minimalRun + "advantages: {preset: \(name.rawValue)}\n")
        #expect(config.advantages.advantageSettings == name.preset.settings.advantages)
        #expect(config.advantages.lossSettings == name.preset.settings.loss)
        #expect(config.gba.resample.enabled == (name == .dapo))
    }

    @Test func keysBesideAPresetWin() throws {
        let config = try decodeRun(
            minimalRun + "advantages: {clipHigh: 0.5, baseline: blend, lambda: 0.25, preset: DAPO}\n",
            ["gba.resample.enabled=false", "advantages.beta=0.01"])
        #expect(config.advantages.clipHigh == 0.5)
        #expect(config.advantages.advantageSettings.baseline == .blend(lambda: 0.25))
        #expect(config.advantages.beta == 0.01)
        #expect(config.advantages.aggregation == .token)
        #expect(!config.gba.resample.enabled)
    }

    @Test func presetFromAnOverrideIsTheStartToo() throws {
        let config = try decodeRun(minimalRun + "advantages: {beta: 0.3}\n", ["advantages.preset=GSPO"])
        #expect(config.advantages.importance == .sequence)
        #expect(config.advantages.beta == 0.3)
    }

    @Test func nullMeansWithoutBound() throws {
        let config = try decodeRun(minimalRun + "advantages: {clipLow: null, clipHigh: null, truncation: null}\n")
        #expect(config.advantages.lossSettings.clip == nil)
        #expect(config.advantages.lossSettings.truncation == .infinity)
    }

    @Test func unknownPresetProposesTheNearest() {
        #expect(runError(minimalRun + "advantages: {preset: GRP0}\n")?.mend == "did you mean GRPO?")
    }

    @Test func misspeltKeyBesideAPresetIsFound() {
        #expect(
            runError(minimalRun + "advantages: {preset: GRPO, clipHihg: 1}\n")?.mend
                == "did you mean advantages.clipHigh?")
    }
}
