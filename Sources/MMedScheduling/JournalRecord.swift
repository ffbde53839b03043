public import MMedCore
public import MMedProtocol

/// A path that was taken in, with everything that is needed to have it again and to tell where it came from.
public struct RecordedPath: Hashable, Sendable {
    /// The path and the coordinator's verdict.
    public var path: JudgedTrajectory
    /// The lease it was taken under.
    public var lease: LeaseID
    /// The lease it came under; another one than `lease` when that lease died with an earlier coordinator.
    public var sentUnder: LeaseID
    /// Who sampled it.
    public var worker: Name
    /// The question's id.
    public var question: String
    /// `plain` or a guideline's name.
    public var prompt: String
    /// The specialty.
    public var specialty: Name

    /// A recorded path.
    public init(
        path: JudgedTrajectory, lease: LeaseID, sentUnder: LeaseID, worker: Name, question: String, prompt: String,
        specialty: Name
    ) {
        self.path = path
        self.lease = lease
        self.sentUnder = sentUnder
        self.worker = worker
        self.question = question
        self.prompt = prompt
        self.specialty = specialty
    }
}

/// A path that was not taken or cannot stand, or a slot that was given up.
public struct DroppedPath: Hashable, Sendable {
    /// Which.
    public var slot: SlotID
    /// Who sent it; nil for a slot that was given up, and for a path that grew too old: its own record tells.
    public var worker: Name?
    /// The lease it came under; nil for a slot that was given up.
    public var lease: LeaseID?
    /// The question's id.
    public var question: String
    /// Why.
    public var reason: String
    /// True when the slot has failed too often: its place in the group stays empty, after a restart too.
    public var isGivenUp: Bool
    /// True when the slot had a recorded path by this worker that cannot stand: the slot is open again, and so are the groups
    /// of its step.
    public var isVoided: Bool

    /// Why a path is dropped whose policy is too old.
    public static let stale = "stale"

    /// A drop.
    public init(
        slot: SlotID, worker: Name?, lease: LeaseID?, question: String, reason: String, isGivenUp: Bool,
        isVoided: Bool = false
    ) {
        self.slot = slot
        self.worker = worker
        self.lease = lease
        self.question = question
        self.reason = reason
        self.isGivenUp = isGivenUp
        self.isVoided = isVoided
    }

    /// True when the path's policy was too old.
    var isStale: Bool { reason == DroppedPath.stale && !isGivenUp }
}

/// What became of a path when the groups of its step closed.
public enum PathUse: String, Hashable, Sendable, CaseIterable {
    /// It has a gradient.
    case trained
    /// Its advantage is 0 (a tied group): it shaped the baselines and has no gradient.
    case noSignal = "no-signal"
    /// It has no reward, or its question has too few: out of the statistics.
    case masked
    /// It shaped the baselines, but its policy is too old to be learned from.
    case stale
    /// Its question was replaced, since all of its paths were right or all wrong.
    case replaced
    /// Its slot was given up.
    case missing
}

/// A slot of closed groups.
public struct GroupMember: Hashable, Sendable {
    /// Which.
    public var slot: SlotID
    /// The update of the step that its question belongs to; nil when its question is in none.
    public var update: Int?
    /// A; 0 where it has none.
    public var advantage: Double
    /// What became of it.
    public var use: PathUse

    /// A member.
    public init(slot: SlotID, update: Int?, advantage: Double, use: PathUse) {
        self.slot = slot
        self.update = update
        self.advantage = advantage
        self.use = use
    }
}

/// The groups of a step at the moment when they closed: membership is a decision, and stands after a restart.
public struct ClosedGroups: Hashable, Sendable {
    /// Indices of stage, track and step.
    public var place: StepPlace
    /// In slot order.
    public var members: [GroupMember]

    /// Closed groups.
    public init(place: StepPlace, members: [GroupMember]) {
        self.place = place
        self.members = members
    }
}

/// Where a step is in the plan, all from 0.
public struct StepPlace: Hashable, Sendable {
    /// Index of the stage.
    public var stage: Int
    /// Index of the track in the stage.
    public var track: Int
    /// Step of the track.
    public var step: Int

    /// A step's place.
    public init(stage: Int, track: Int, step: Int) {
        self.stage = stage
        self.track = track
        self.step = step
    }

    /// The step of a slot.
    init(of slot: SlotID) {
        self.init(stage: Int(slot.stage), track: Int(slot.track), step: Int(slot.step))
    }
}

/// An update whose result is on the disk: the birth of an adapter version.
public struct RecordedUpdate: Hashable, Sendable {
    /// The step it belongs to.
    public var place: StepPlace
    /// Which of the step's updates.
    public var update: Int
    /// The version it started from.
    public var base: AdapterReference
    /// What it made.
    public var result: UpdateResult
    /// Supervised records it learned from, by id and in order; empty in reinforcement, where `ClosedGroups` tells.
    public var examples: [String]

    /// A recorded update.
    public init(
        place: StepPlace, update: Int, base: AdapterReference, result: UpdateResult, examples: [String]
    ) {
        self.place = place
        self.update = update
        self.base = base
        self.result = result
        self.examples = examples
    }
}

/// A merge whose result is on the disk.
public struct RecordedMerge: Hashable, Sendable {
    /// Index of the stage.
    public var stage: Int
    /// The experts.
    public var order: MergeOrder
    /// What they became.
    public var result: AdapterReference

    /// A recorded merge.
    public init(stage: Int, order: MergeOrder, result: AdapterReference) {
        self.stage = stage
        self.order = order
        self.result = result
    }
}

/// A fact that must be on the disk before anything that was decided after it is said or done.
public enum JournalRecord: Hashable, Sendable {
    /// A coordinator begins to serve under this epoch.
    case session(epoch: UInt64)
    /// A path was taken; its acknowledgement follows.
    case path(RecordedPath)
    /// A path was not taken, or a slot was given up.
    case drop(DroppedPath)
    /// The groups of a step closed.
    case groups(ClosedGroups)
    /// An update was applied.
    case update(RecordedUpdate)
    /// The experts were merged.
    case merge(RecordedMerge)
    /// A worker was caught: it stays out for the rest of the run. Drops of its paths follow.
    case quarantine(QuarantinedWorker)
}
