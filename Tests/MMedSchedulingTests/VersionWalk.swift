import MMedCore
import MMedProtocol

@testable import MMedScheduling

/// A free-running run's journal, walked once in its order: what was sampled by which version, and what became of it.
struct VersionWalk {
    private let plan: RunPlan
    private(set) var problems: [String] = []
    /// Paths that were taken back, and those that were too old when they came.
    private(set) var takenBack = 0
    private(set) var lateStale = 0
    /// Closed questions whose paths are of several versions.
    private(set) var mixedQuestions = 0
    /// Paths of closed groups by their age in versions.
    private(set) var ages: [Int: Int] = [:]
    private var heads: [Name: Int] = [:]
    /// Paths that stand.
    private var paths: [SlotID: RecordedPath] = [:]
    /// Times that a slot's path was too old.
    private(set) var asked: [SlotID: Int] = [:]
    private var givenUp = Set<SlotID>()
    private var closed = Set<SlotID>()

    init(_ journal: [JournalRecord], plan: RunPlan) {
        self.plan = plan
        for record in journal {
            switch record {
            case .path(let path) where isReinforced(path.path.trajectory.slot): walk(path)
            case .drop(let drop) where drop.isStale: walk(stale: drop)
            case .drop(let drop):
                expect(!drop.isVoided, "slot \(drop.slot) is void: \(drop.reason)")
                if drop.isGivenUp { givenUp.insert(drop.slot) }
            case .groups(let groups): walk(groups)
            case .update(let update): heads[update.base.name] = update.result.head.reference.version
            case .path, .session, .merge, .quarantine: break
            }
        }
        for slot in asked.keys.sorted() {
            expect(
                closed.contains(slot) && (paths[slot] != nil || givenUp.contains(slot)),
                "slot \(slot) was dropped as stale and not asked again")
        }
    }

    /// Versions that a path of a track may be behind.
    static func most(_ plan: RunPlan, stage: Int, track: Int) -> Int {
        let steps = plan.stages[stage].tracks[track].steps
        return plan.settings.maxStaleness
            ?? plan.settings.maxLag * steps.reduce(1) { max($0, $1.learningRates.count) }
    }

    private func isReinforced(_ slot: SlotID) -> Bool { plan.stages[Int(slot.stage)].kind == .reinforce }

    private func head(stage: Int, track: Int) -> Int {
        heads[plan.stages[stage].tracks[track].specialty] ?? 0
    }

    private mutating func expect(_ holds: Bool, _ what: @autoclosure () -> String) {
        if !holds { problems.append(what()) }
    }

    private mutating func walk(_ path: RecordedPath) {
        let slot = path.path.trajectory.slot
        expect(!closed.contains(slot), "slot \(slot) is recorded after its group closed")
        expect(paths.updateValue(path, forKey: slot) == nil, "slot \(slot) is recorded twice")
    }

    private mutating func walk(stale drop: DroppedPath) {
        let slot = drop.slot
        expect(!closed.contains(slot), "slot \(slot) is dropped as stale after its group closed")
        asked[slot, default: 0] += 1
        guard drop.isVoided else {
            lateStale += 1
            expect(paths[slot] == nil && drop.worker != nil, "slot \(slot) has a path and another comes too old")
            return
        }
        takenBack += 1
        let (stage, track) = (Int(slot.stage), Int(slot.track))
        let version = paths.removeValue(forKey: slot)?.path.trajectory.version
        let head = head(stage: stage, track: track)
        expect(
            version.map { head - $0 > VersionWalk.most(plan, stage: stage, track: track) } ?? false,
            "slot \(slot): version \(version ?? -1) is dropped as stale at \(head)")
    }

    private mutating func walk(_ groups: ClosedGroups) {
        let current = head(stage: groups.place.stage, track: groups.place.track)
        let most = VersionWalk.most(plan, stage: groups.place.stage, track: groups.place.track)
        var versions: [Int32: Set<Int>] = [:]
        for member in groups.members {
            expect(closed.insert(member.slot).inserted, "slot \(member.slot) is in two groups")
            expect(member.use != .stale, "slot \(member.slot) came to its group too old")
            if givenUp.contains(member.slot) { continue }
            guard let path = paths[member.slot] else {
                expect(false, "slot \(member.slot) is in a group and has no path")
                continue
            }
            let age = current - path.path.trajectory.version
            expect((0...most).contains(age), "slot \(member.slot) is used \(age) versions old, at most \(most)")
            ages[age, default: 0] += 1
            versions[member.slot.question, default: []].insert(path.path.trajectory.version)
        }
        mixedQuestions += versions.values.reduce(0) { $0 + ($1.count > 1 ? 1 : 0) }
    }
}
