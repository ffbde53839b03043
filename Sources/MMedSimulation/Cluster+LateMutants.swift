import MMedCoordinator
import MMedCore
import MMedProtocol
import MMedScheduling

// What planted bugs need that are about ages and checks.
extension Cluster {
    /// The record of a path that came too old, in the place of the record that it was not taken.
    func admitted(_ record: JournalRecord, by id: UInt64) -> JournalRecord {
        guard case .drop(let drop) = record, drop.reason == DroppedPath.stale, !drop.isVoided, let lease = drop.lease,
            let worker = drop.worker, let place = place(of: id), let path = processes[place].came[drop.slot],
            let work = ledger.work[drop.slot]
        else { return record }
        let judged = JudgedTrajectory(trajectory: path, parts: SimulatedEngine.judge(path, work.reward))
        let specialty = ledger.specialty(StepPlace(of: drop.slot))
        return .path(
            RecordedPath(
                path: judged, lease: lease, sentUnder: lease, worker: worker, question: drop.question, prompt: "",
                specialty: specialty))
    }

    /// Keeps the first gradient of a shard, chunk by chunk.
    func note(_ chunk: GradientChunk, from name: Name, _ place: Int) {
        guard ledger.shards[chunk.shard]?.lease.lease == chunk.lease else { return }
        let known = processes[place].firsts[chunk.shard] ?? (chunk.lease, name, [])
        guard known.lease == chunk.lease, known.bytes.count == chunk.offset else { return }
        processes[place].firsts[chunk.shard] = (known.lease, name, known.bytes + chunk.bytes)
    }

    /// A sum's parts, with those that came first where their worker was caught since.
    func withFirst(_ parts: [[UInt8]], of shards: [ShardID], by id: UInt64) -> [[UInt8]] {
        guard let place = place(of: id) else { return parts }
        return zip(shards, parts).map { shard, part in
            guard let first = processes[place].firsts[shard], first.bytes.count == part.count,
                ledger.quarantined[first.worker] != nil
            else { return part }
            return first.bytes
        }
    }
}
