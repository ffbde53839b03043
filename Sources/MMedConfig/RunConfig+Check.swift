import MMedAlgorithms
import MMedCore

extension RunConfig {
    /// What no single key can know: how keys fit each other. Errors name the line of the key where it was written.
    func check(in root: ConfigNode) throws(MMedError) {
        try checkPrompts(root)
        try checkGroups(root)
        try checkMode(root)
        try checkAdvantages(root)
        try checkEval(root)
        try checkLeases(root)
    }

    private func refuse(_ root: ConfigNode, _ path: String, _ problem: String, _ mend: String) -> MMedError {
        let keys = path.split(separator: ".").map(String.init)
        for length in stride(from: keys.count, to: 0, by: -1) {
            if let entry = root.entry(at: Array(keys[..<length])) {
                return configError(entry.place, path, problem, mend)
            }
        }
        return configError(root.place, path, problem, mend)
    }

    private func checkPrompts(_ root: ConfigNode) throws(MMedError) {
        if prompt.answerInstruction.last?.isWhitespace ?? true {
            throw refuse(
                root, "prompt.answerInstruction", "the text ends in white space",
                "end it in a visible character, so that all prompts of a question share their tokens")
        }
        var seen: [Name] = []
        for (index, guideline) in prompt.guidelines.enumerated() {
            if seen.contains(guideline.name) {
                throw refuse(
                    root, "prompt.guidelines", "the name \(guideline.name) stands twice",
                    "give each guideline its own name")
            }
            if guideline.name.text == "plain" {
                throw refuse(
                    root, "prompt.guidelines", "the name plain means the prompt without a guideline",
                    "choose another name")
            }
            if guideline.text.first?.isWhitespace ?? true || guideline.text.last?.isWhitespace ?? true {
                throw refuse(
                    root, "prompt.guidelines", "the text of entry \(index) begins or ends in white space", "trim it")
            }
            seen.append(guideline.name)
        }
        if (gba.enabled || dsa.enabled) && prompt.guidelines.isEmpty {
            throw refuse(
                root, "prompt.guidelines", "DSA and GBA need at least one guideline, found none",
                "add one, or set dsa.enabled and gba.enabled to false")
        }
        if let merged = specialties.first(where: { ["merged", "base"].contains($0.text) }) {
            throw refuse(
                root, "specialties", "the name \(merged) is taken by a stage of the run", "choose another name")
        }
    }

    private func checkGroups(_ root: ConfigNode) throws(MMedError) {
        let paths = prompt.guidelines.count * gba.pathsPerGuideline
        if gba.enabled && gba.minimumValidSamples > paths {
            throw refuse(
                root, "gba.minimumValidSamples",
                "expected at most the \(paths) paths of a question (\(prompt.guidelines.count) guidelines x "
                    + "\(gba.pathsPerGuideline)), found \(gba.minimumValidSamples)",
                paths < 2 ? "raise gba.pathsPerGuideline: one path has nothing to be compared with" : "lower it")
        }
        let slots = paths * gba.questionsPerStep
        if slots > 1 << 20 {
            throw refuse(
                root, "gba.questionsPerStep", "a step of \(slots) paths is more than the \(1 << 20) that fit",
                "lower gba.questionsPerStep or gba.pathsPerGuideline")
        }
    }

    private func checkMode(_ root: ConfigNode) throws(MMedError) {
        guard gba.mode == .freeRunning else {
            if let versions = gba.maxStaleness {
                throw refuse(
                    root, "gba.maxStaleness",
                    "only mode freeRunning takes maxStaleness, found \(versions) in mode \(gba.mode.rawValue)",
                    "remove it (gba.maxLag alone says how old a path is), or set gba.mode to freeRunning")
            }
            return
        }
        if gba.maxLag == 0 {
            throw refuse(
                root, "gba.mode", "freeRunning needs a step to run ahead, and gba.maxLag is 0",
                "set gba.maxLag to 1 or more, or gba.mode to fixedLag")
        }
        let reach = gba.maxLag * advantages.updatesPerStep
        if let versions = gba.maxStaleness, versions > reach {
            throw refuse(
                root, "gba.maxStaleness",
                "expected at most \(reach), the versions that gba.maxLag \(gba.maxLag) steps of "
                    + "\(advantages.updatesPerStep) updates make, found \(versions)",
                "lower it or leave it out, or raise gba.maxLag to let sampling run further ahead")
        }
    }

    private func checkAdvantages(_ root: ConfigNode) throws(MMedError) {
        switch (advantages.baseline, advantages.lambda) {
        case (.blend, nil):
            throw refuse(root, "advantages.lambda", "baseline blend needs a number in 0...1, found none", "add lambda")
        case (.within, .some), (.pooled, .some), (.auto, .some):
            throw refuse(
                root, "advantages.lambda", "only baseline blend takes lambda, not \(advantages.baseline.rawValue)",
                "remove lambda, or set baseline to blend")
        default: break
        }
        if (advantages.clipLow == nil) != (advantages.clipHigh == nil) {
            throw refuse(
                root, advantages.clipLow == nil ? "advantages.clipLow" : "advantages.clipHigh",
                "one side of the clip range is null and the other is not", "set both to numbers, or both to null")
        }
        if gba.enabled && advantages.updatesPerStep > gba.questionsPerStep {
            throw refuse(
                root, "advantages.updatesPerStep",
                "expected at most gba.questionsPerStep, \(gba.questionsPerStep), found \(advantages.updatesPerStep)",
                "an update needs a question of its own: lower it")
        }
        do {
            try advantages.advantageSettings.validate(guidelineCount: prompt.guidelines.count)
            try advantages.lossSettings.validate()
        } catch {
            let key = error.place.split(separator: ".").dropFirst().first.map(String.init) ?? ""
            let bare = String(key.prefix { $0 != "[" })
            throw refuse(root, "advantages.\(bare)", error.problem, error.mend)
        }
    }

    private func checkEval(_ root: ConfigNode) throws(MMedError) {
        for stage in eval.stages {
            if let keys = untrained(stage) {
                throw refuse(
                    root, "eval.stages", "\(stage.rawValue) cannot be measured: \(keys) is false",
                    "take \(stage.rawValue) out of the list, or train that stage")
            }
        }
        if eval.judgeQuestions > 0 && !gba.enabled {
            throw refuse(root, "eval.judgeQuestions", "there is no GBA to judge: gba.enabled is false", "set it to 0")
        }
    }

    /// The keys whose `false` leaves nothing to measure at a stage; nil when there is something.
    func untrained(_ stage: EvalStage) -> String? {
        switch stage {
        case .base: nil
        case .dsa: dsa.enabled ? nil : "dsa.enabled"
        case .gba: gba.enabled ? nil : "gba.enabled"
        case .merged: dsa.enabled || gba.enabled ? nil : "dsa.enabled and gba.enabled"
        }
    }

    private func checkLeases(_ root: ConfigNode) throws(MMedError) {
        if leases.beatSeconds * 3 > leases.seconds {
            throw refuse(
                root, "leases.seconds",
                "expected at least three beats of \(leases.beatSeconds) s, found \(leases.seconds) s",
                "raise it, so that one lost beat does not cost a lease")
        }
    }
}
