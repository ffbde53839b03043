import MMedAlgorithms
import MMedScheduling

/// Settings that change the course of a run.
struct Course {
    var lag = 0
    var updates = 1
    var resample = 0
    var refusesOneIn: UInt64 = 0
    var loss = LossSettings()
    var mode = SamplingMode.fixedLag
    var staleness: Int?
    var spotCheck = 0.0

    var lossOfAll: LossSettings {
        var loss = loss
        loss.updatesPerStep = updates
        return loss
    }

    /// A variant is a place in this list.
    static let all = [
        Course(),
        Course(updates: 2, resample: 1),
        Course(lag: 2, updates: 2, refusesOneIn: 5),
        Course(lag: 1, resample: 2, loss: LossSettings(target: .stripped)),
        Course(lag: 2, resample: 1, loss: LossSettings(klCoefficient: 0.1)),
        Course(updates: 2, refusesOneIn: 3),
        // Timing chooses versions.
        Course(lag: 3, mode: .freeRunning, staleness: 1),
        Course(lag: 2, updates: 2, resample: 2, mode: .freeRunning, staleness: 2),
        Course(
            lag: 2, updates: 2, refusesOneIn: 3, loss: LossSettings(klCoefficient: 0.1), mode: .freeRunning,
            staleness: 1),
        Course(lag: 3, updates: 2, loss: LossSettings(target: .stripped), mode: .freeRunning, staleness: 3),
        // What workers bring is computed a second time.
        Course(lag: 1, updates: 2, resample: 1, spotCheck: 1),
        Course(updates: 2, refusesOneIn: 4, spotCheck: 0.3),
        Course(lag: 3, mode: .freeRunning, staleness: 1, spotCheck: 1),
        Course(lag: 2, updates: 2, resample: 1, mode: .freeRunning, staleness: 2, spotCheck: 0.3),
    ]
}
