import MMedCoordinator
import MMedCore
import MMedProtocol
import MMedScheduling

/// What a coordinator owes in time, by the time for which it was awake.
struct Duties {
    /// Answers by lease, and the time until which they must come.
    var answers: [LeaseID: (peer: PeerID, until: UInt64)] = [:]
    /// Leases that a connection was told are void; more of their chunks need no word.
    var void: [PeerID: Set<LeaseID>] = [:]
    /// When a lease left for its worker.
    var granted: [LeaseID: UInt64] = [:]
    /// When a worker's progress last rose.
    var progress: [Name: (value: UInt64, at: UInt64)] = [:]
}

// Duties of a coordinator: an answer to each result, an end to each lease and to each worker that is gone.
extension Cluster {
    /// Microseconds in which an answer comes, whatever the disk does.
    private var answerMicroseconds: UInt64 { 15_000_000 }

    /// A message of a worker was taken in.
    func owe(_ message: WorkerMessage, to name: Name, _ peer: PeerID, by id: UInt64) {
        guard let place = place(of: id), processes[place].desk.name(of: peer) == name
        else { return }
        let awake = now - processes[place].slept
        switch message {
        case .trajectories(let lease, _): oweAnswer(lease, peer, place, awake)
        case .gradientChunk(let chunk):
            if processes[place].duties.void[peer]?.contains(chunk.lease) != true {
                oweAnswer(chunk.lease, peer, place, awake)
            }
        case .beat(let beat):
            if processes[place].duties.progress[name]?.value != beat.progress {
                processes[place].duties.progress[name] = (beat.progress, awake)
            }
        default: break
        }
    }

    private func oweAnswer(_ lease: LeaseID, _ peer: PeerID, _ place: Int, _ awake: UInt64) {
        if processes[place].duties.answers[lease]?.peer != peer {
            processes[place].duties.answers[lease] = (peer, awake + answerMicroseconds)
        }
    }

    /// A message leaves.
    func pay(_ message: CoordinatorMessage, to peer: PeerID, _ place: Int) {
        switch message {
        case .rollout(let lease): processes[place].duties.granted[lease.lease] = now - processes[place].slept
        case .gradient(let lease): processes[place].duties.granted[lease.lease] = now - processes[place].slept
        case .trajectoriesRecorded(let lease, _), .gradientReceived(let lease, _): answered(lease, peer, place)
        case .leaseRevoked(let lease, _):
            answered(lease, peer, place)
            processes[place].duties.void[peer, default: []].insert(lease)
        default: break
        }
    }

    private func answered(_ lease: LeaseID, _ peer: PeerID, _ place: Int) {
        if processes[place].duties.answers[lease]?.peer == peer { processes[place].duties.answers[lease] = nil }
    }

    /// Once in a second: what is overdue.
    func collectDuties(_ place: Int) {
        let process = processes[place]
        let awake = now - process.slept
        let overdue = process.duties.answers.filter { $0.value.until <= awake }.sorted { $0.key < $1.key }
        for (lease, owed) in overdue {
            processes[place].duties.answers[lease] = nil
            // A worker that was sent away, or that came on another connection, says it all again.
            guard let name = process.desk.name(of: owed.peer) else { continue }
            ledger.expect(
                false, "answers come", "\(name) has no word of its results of lease \(lease.fence) for 15 s")
        }
        let limit = plan.settings.leaseMilliseconds * 1_000 + 2_000_000
        for (lease, grantedAt) in process.duties.granted.sorted(by: { $0.key < $1.key }) {
            guard let holder = ledger.holders[lease], process.desk.core.isLive(lease, of: holder) else {
                processes[place].duties.granted[lease] = nil
                continue
            }
            let last = max(grantedAt, process.duties.progress[holder]?.at ?? 0)
            ledger.expect(
                awake < last + limit, "leases end",
                "\(holder) holds lease \(lease.fence) without progress for \((awake - last) / 1_000) ms")
        }
        let silence = plan.settings.beatMilliseconds * plan.settings.silentBeats * 1_000 + 2_200_000
        for seat in seats where process.desk.core.hello(of: seat.name) != nil {
            let last = process.heardAt[seat.name] ?? 0
            ledger.expect(
                awake < last + silence, "the silent are given up",
                "\(seat.name) is kept \((awake - last) / 1_000) ms after its last word")
        }
    }
}
