import MMedAlgorithms
import MMedCore

extension AdvantagesConfig: ConfigSection {
    static var empty: AdvantagesConfig { AdvantagesConfig() }

    /// A preset is the start onto which the keys beside it are read.
    static func start(
        _ node: ConfigNode, current: AdvantagesConfig, path: String
    ) throws(MMedError) -> AdvantagesConfig {
        guard let entry = node.entries()?.first(where: { $0.key == "preset" }) else { return current }
        let codec = ConfigCodec<PresetName?>.optional(.choice, none: "no preset")
        guard let preset = try codec.read(entry.node, path + ".preset", nil) else { return current }
        return AdvantagesConfig(preset: preset)
    }

    static var fields: [ConfigField<AdvantagesConfig>] {
        [
            ConfigField(
                "preset", \.preset, .optional(.choice, none: "no preset"),
                "Sets every key of this section that is not written out beside it; `DAPO` also sets `gba.resample.enabled`."
            ),
            ConfigField("baseline", \.baseline, .choice, "What a reward is compared with."),
            ConfigField(
                "lambda", \.lambda, .optional(.number(0, 1), none: "for any baseline but blend"),
                "Share of the pooled baseline, for `blend` alone."),
            ConfigField("leaveOneOut", \.leaveOneOut, .flag, "Leave each path out of its own baseline."),
            ConfigField("scale", \.scale, .choice, "The standard deviation that advantages are divided by."),
            ConfigField(
                "weights", \.weights, .guidelineWeights,
                "How much each guideline counts; a list has one number for each."),
            ConfigField("target", \.target, .choice, "The prompt whose policy is trained."),
            ConfigField("strippedWeights", \.strippedWeights, .choice, "Path weights of target `stripped`."),
            ConfigField("importance", \.importance, .choice, "The unit of the importance ratio."),
            ConfigField("aggregation", \.aggregation, .choice, "What the loss is divided by."),
            ConfigField("prox", \.prox, .choice, "The policy that clipping measures from."),
            ConfigField(
                "updatesPerStep", \.updatesPerStep, .integer(1...1024), "Successive updates that one step is cut into."),
            ConfigField(
                "clipLow", \.clipLow, .optional(.number(0, 1), none: "no clipping"),
                "The ratio is clipped below 1 - clipLow."),
            ConfigField(
                "clipHigh", \.clipHigh, .optional(.number(0, 1000), none: "no clipping"),
                "The ratio is clipped above 1 + clipHigh."),
            ConfigField("beta", \.beta, .number(0, 100), "Factor on the divergence from the DSA adapter."),
            ConfigField(
                "kl", \.kl, .choice,
                "The estimate of that divergence; `k1` teaches nothing on average and is refused with `beta` above 0."),
            ConfigField(
                "truncation", \.truncation, .optional(.number(1, 1e6), none: "no bound"),
                "Bound C on the staleness weight."),
            ConfigField(
                "maskTruncated", \.maskTruncated, .flag,
                "Leave paths without an end token out of the loss; they stay in every baseline."),
        ]
    }
}

extension ConfigCodec where Value == GuidelineWeights {
    /// A word or a list of positive numbers.
    static var guidelineWeights: ConfigCodec {
        let list = ConfigCodec<[Double]>.list(of: .number(0, 1e6, above: true), 1...32)
        let expects = "uniform, count, or \(list.expects)"
        return ConfigCodec(
            expects: expects,
            read: { (node, path, _) throws(MMedError) in
                switch node.content {
                case .scalar("uniform", _): return .uniform
                case .scalar("count", _): return .count
                case .list: return .list(try list.read(node, path, nil))
                default:
                    throw configError(
                        node.place, path, "expected \(expects), found \(node.summary)", "correct the value")
                }
            },
            write: { weights in
                switch weights {
                case .uniform: .scalar("uniform")
                case .count: .scalar("count")
                case .list(let numbers): list.write(numbers)
                }
            })
    }
}
