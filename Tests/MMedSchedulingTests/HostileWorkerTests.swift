import MMedCore
import MMedProtocol
import Testing

@testable import MMedScheduling

/// Workers that passed the handshake and lie.
@Suite struct HostileWorkerTests {
    private func script(slotsPerLease: Int = 32, steps: Int = 1) -> Script {
        var script = Script(
            Plans.only([Plans.evaluate("eval-base", .base, steps: steps)]) { $0.slotsPerLease = slotsPerLease })
        script.tell(.tick, "the run begins")
        return script
    }

    private func isTaken(_ script: Script) -> Bool {
        script.last.contains { if case .record(.path) = $0 { true } else { false } }
    }

    /// An epoch of 0 is smaller than the first one, and yet nobody ever granted anything in it.
    @Test func aFenceThatNobodyGrantedTakesNoOpenSlot() {
        var script = script()
        script.join("honest", .rollout)
        let lease = script.rollouts[0]
        script.tell(.left(Name("honest")!, reason: "killed"), "its slots are open again")
        script.join("liar", .rollout, credits: 0)
        var judged = script.judged(script.paths(of: lease))
        for fence: UInt64 in [0, 5, 1 << 40 - 1] {
            let forged = LeaseID(fence: fence)
            #expect(script.core.rewardTask(of: judged[0].trajectory, under: forged, from: Name("liar")!) == nil)
            script.tell(.trajectories(Name("liar")!, forged, judged), "made up under fence \(fence)")
            #expect(!isTaken(script))
        }
        #expect(script.lines.contains { $0.contains("late-paths worker=liar") })
        // After a restart the former epoch's fences are known ones again.
        var state = Plans.initialState(script.core.plan)
        state.epoch = 2
        script = Script(script.core.plan, state: state)
        script.tell(.tick, "the run resumes")
        script.join("honest", .rollout, credits: 0)
        judged = script.judged(judged.map(\.trajectory))
        script.tell(.trajectories(Name("honest")!, lease.lease, judged), "finished meanwhile")
        #expect(isTaken(script))
    }

    /// Progress is only claimed: without a result it renews a lease for a while, not for ever.
    @Test func growingProgressDoesNotHoldALeaseForEver() {
        var script = script()
        script.join("liar", .rollout)
        let lease = script.rollouts[0].lease
        let settings = script.core.plan.settings
        let bound = Int(settings.leaseMilliseconds * settings.leaseRenewals / 1_000)
        var heldSeconds = 0
        while script.core.isLive(lease, of: Name("liar")!) && heldSeconds < 2 * bound {
            heldSeconds += 1
            let beat = Beat(phase: .sampling, progress: UInt64(heldSeconds), leases: [lease])
            script.tell(.beat(Name("liar")!, beat))
            script.wait(1)
        }
        #expect(heldSeconds == bound)
        #expect(script.entries.contains { $0.event == "lease-expired" })
    }

    @Test func aResultProvesThatTheWorkGoesOn() throws {
        var script = script()
        script.join("slow", .rollout)
        let lease = script.rollouts[0]
        let paths = script.judged(script.paths(of: lease))
        let first = try #require(script.core.leases[lease.lease]?.lastDeadline)
        script.wait(10, beating: ["slow"])
        script.tell(.trajectories(Name("slow")!, lease.lease, [paths[0]]), "one path")
        #expect(try #require(script.core.leases[lease.lease]?.lastDeadline) == first + 10_000)
    }

    @Test func aNewcomerCannotHoardTheWork() {
        var script = script(slotsPerLease: 1)
        script.join("hoarder", .rollout, credits: 1_024)
        #expect(script.rollouts.count == CoordinatorCore.leasesOnProbation)
        script.sample("hoarder", script.rollouts[0])
        #expect(script.rollouts.count > CoordinatorCore.leasesOnProbation + 1, "a result ends the probation")
    }

    @Test func workersThatAskForNothingDoNotCutLeasesSmall() {
        var script = script()
        for number in 0..<50 { script.join("idle-\(number)", .rollout, credits: 0) }
        script.join("honest", .rollout)
        #expect(script.rollouts[0].questions.flatMap(\.slots).count == 18)
    }

    @Test func aCrowdOfNewcomersCannotHaveProvenWorkersSentAway() {
        var script = script(slotsPerLease: 1)
        for name in ["a", "b"] {
            script.join(name, .rollout)
            script.sample(name, script.rollouts[script.rollouts.count - 1])
        }
        func report(_ name: String, _ logprob: Double) {
            script.tell(.canary(Name(name)!, CanaryReport(adapter: nil, logprob: logprob)), "\(name) sings")
        }
        for name in ["a", "b"] { report(name, -40) }
        for name in ["x", "y", "z"] {
            script.join(name, .rollout, credits: 0)
            report(name, -1)
        }
        #expect(script.core.workerNames.map(\.text) == ["a", "b"])
    }

    @Test func whatIsRememberedOfCanariesIsBounded() {
        var script = script()
        for number in 0..<300 {
            let name = "w\(number)"
            script.join(name, .rollout, credits: 0)
            script.tell(.canary(Name(name)!, CanaryReport(adapter: nil, logprob: -40)), "\(name) sings")
        }
        #expect(script.core.canaries[0].reports.count == 64)
        for number in 0..<300 { script.tell(.left(Name("w\(number)")!, reason: "gone"), "gone") }
        script.join("last", .rollout, credits: 0)
        script.tell(.canary(Name("last")!, CanaryReport(adapter: nil, logprob: -40)), "last sings")
        #expect(script.core.canaries[0].reports.count == 1)
    }
}
