import CWire
import MMedCore
import MMedProtocol

extension WireReader {
    /// A worker's message from its payload, before the checks of meaning.
    func read(
        _ type: WorkerType, _ header: FrameHeader, _ payload: UnsafeBufferPointer<UInt8>
    ) throws(CodecError) -> WorkerMessage {
        switch type {
        case .hello: return .hello(try hello(try unpack(payload, mmed__hello__unpack).pointee, header))
        case .ready:
            return .ready(credits: try Field.count(try unpack(payload, mmed__ready__unpack).pointee.credits, "credits"))
        case .trajectories:
            let read = try unpack(payload, mmed__trajectories__unpack).pointee
            var trajectories: [Trajectory] = []
            for trajectory in try Field.list(
                read.trajectories, read.n_trajectories, limit: Limits.paths, "trajectories")
            {
                trajectories.append(try Field.trajectory(trajectory))
            }
            return .trajectories(LeaseID(fence: read.fence), trajectories)
        case .gradientChunk:
            return .gradientChunk(try gradientChunk(try unpack(payload, mmed__gradient_chunk__unpack).pointee))
        case .leaseFailed:
            let read = try unpack(payload, mmed__lease_failed__unpack).pointee
            return .leaseFailed(LeaseID(fence: read.fence), reason: try reason(read.reason))
        case .updateApplied:
            let read = try unpack(payload, mmed__update_applied__unpack).pointee
            return .updateApplied(try Field.reference(read.adapter, "adapter"))
        case .canary:
            let read = try unpack(payload, mmed__canary__unpack).pointee
            return .canary(
                CanaryReport(
                    adapter: try Field.optionalReference(read.adapter, "adapter"), logprob: read.logprob))
        case .blobRequest:
            let read = try unpack(payload, mmed__blob_request__unpack).pointee
            return .blobRequest(
                try Field.digest(read.digest, "digest"), offset: try Field.count(read.offset, "offset"))
        case .beat: return .beat(try beat(try unpack(payload, mmed__beat__unpack).pointee))
        case .goodbye:
            return .goodbye(reason: try reason(try unpack(payload, mmed__goodbye__unpack).pointee.reason))
        }
    }

    private func reason(_ data: ProtobufCBinaryData) throws(CodecError) -> String {
        try Field.text(data, limit: Limits.reasonBytes, "reason")
    }

    private func hello(_ read: Mmed__Hello, _ header: FrameHeader) throws(CodecError) -> Hello {
        var adapters: [Name] = []
        for data in try Field.list(read.adapters, read.n_adapters, limit: Limits.adapters, "adapters") {
            adapters.append(try Field.name(data, "adapters"))
        }
        return Hello(
            major: header.major, minor: header.minor, role: try .read(read.role, "role"),
            name: try Field.name(read.name, "name"), instance: read.instance,
            modelDigest: try Field.digest(read.model_digest, "modelDigest"),
            threads: try Field.count(read.threads, "threads"), adapters: adapters,
            host: try Field.text(read.host, limit: Limits.hostBytes, "host"), processID: read.process_id)
    }

    private func beat(_ read: Mmed__Beat) throws(CodecError) -> Beat {
        guard let raw = Int32(exactly: read.phase), let phase = WorkerPhase(rawValue: raw) else {
            throw .malformed(reason: "phase: \(read.phase) is no choice")
        }
        let fences: [UInt64] = try Field.words(read.fences, "leases")
        return Beat(phase: phase, progress: read.progress, leases: fences.map { LeaseID(fence: $0) })
    }

    private func gradientChunk(_ read: Mmed__GradientChunk) throws(CodecError) -> GradientChunk {
        GradientChunk(
            lease: LeaseID(fence: read.fence), shard: try Field.shard(read.shard),
            offset: try Field.count(read.offset, "offset"), totalBytes: try Field.count(read.total_bytes, "totalBytes"),
            digest: try Field.digest(read.digest, "digest"), bytes: Field.bytes(read.content),
            statistics: try Field.statistics(read.statistics))
    }

    /// A coordinator's message from its payload, before the checks of meaning.
    func read(
        _ type: CoordinatorType, _ payload: UnsafeBufferPointer<UInt8>
    ) throws(CodecError) -> CoordinatorMessage {
        switch type {
        case .welcome: return .welcome(try welcome(try unpack(payload, mmed__welcome__unpack).pointee))
        case .refused:
            let read = try unpack(payload, mmed__refused__unpack).pointee
            return .refused(
                reason: try reason(read.reason), mend: try Field.text(read.mend, limit: Limits.reasonBytes, "mend"))
        case .introduceYourself:
            _ = try unpack(payload, mmed__introduce_yourself__unpack)
            return .introduceYourself
        case .rollout: return .rollout(try rollout(try unpack(payload, mmed__rollout__unpack).pointee))
        case .gradient: return .gradient(try gradient(try unpack(payload, mmed__gradient__unpack).pointee))
        case .trajectoriesRecorded:
            let read = try unpack(payload, mmed__trajectories_recorded__unpack).pointee
            return .trajectoriesRecorded(LeaseID(fence: read.fence), try Field.slots(read.slots, "slots"))
        case .gradientReceived:
            let read = try unpack(payload, mmed__gradient_received__unpack).pointee
            return .gradientReceived(
                LeaseID(fence: read.fence), bytes: try Field.count(read.received_bytes, "receivedBytes"))
        case .leaseRevoked:
            let read = try unpack(payload, mmed__lease_revoked__unpack).pointee
            return .leaseRevoked(LeaseID(fence: read.fence), reason: try reason(read.reason))
        case .update: return .update(try update(try unpack(payload, mmed__update__unpack).pointee))
        case .blobChunk:
            let read = try unpack(payload, mmed__blob_chunk__unpack).pointee
            return .blobChunk(
                try Field.digest(read.digest, "digest"), offset: try Field.count(read.offset, "offset"),
                totalBytes: try Field.count(read.total_bytes, "totalBytes"), bytes: Field.bytes(read.content))
        case .blobMissing:
            return .blobMissing(
                try Field.digest(try unpack(payload, mmed__blob_missing__unpack).pointee.digest, "digest"))
        case .drain:
            _ = try unpack(payload, mmed__drain__unpack)
            return .drain
        case .end: return .end(reason: try reason(try unpack(payload, mmed__end__unpack).pointee.reason))
        }
    }

    private func welcome(_ read: Mmed__Welcome) throws(CodecError) -> Welcome {
        var adapters: [AdapterDescription] = []
        for adapter in try Field.list(read.adapters, read.n_adapters, limit: Limits.adapters, "adapters") {
            adapters.append(try Field.adapter(adapter))
        }
        return Welcome(
            run: try Field.name(read.run, "run"), seed: read.seed,
            beatMilliseconds: try Field.count(read.beat_milliseconds, "beatMilliseconds"), adapters: adapters,
            canaryIds: try Field.words(read.canary_ids, "canaryIds"))
    }

    private func rollout(_ read: Mmed__Rollout) throws(CodecError) -> RolloutLease {
        var questions: [QuestionWork] = []
        for question in try Field.list(read.questions, read.n_questions, limit: Limits.questionsPerLease, "questions") {
            questions.append(try Field.question(question))
        }
        return RolloutLease(
            lease: LeaseID(fence: read.fence),
            durationMilliseconds: try Field.count(read.duration_milliseconds, "durationMilliseconds"),
            questions: questions)
    }

    private func gradient(_ read: Mmed__Gradient) throws(CodecError) -> GradientLease {
        var microbatches: [[LearningTree]] = []
        for microbatch in try Field.list(
            read.microbatches, read.n_microbatches, limit: Limits.microbatches, "microbatches")
        {
            microbatches.append(try Field.microbatch(microbatch))
        }
        return GradientLease(
            lease: LeaseID(fence: read.fence),
            durationMilliseconds: try Field.count(read.duration_milliseconds, "durationMilliseconds"),
            shard: try Field.shard(read.shard), adapter: try Field.reference(read.adapter, "adapter"),
            reference: try Field.optionalReference(read.reference, "reference"),
            prox: try Field.optionalReference(read.prox, "prox"), objective: try Field.objective(read.policy),
            temperature: read.temperature, microbatches: microbatches)
    }

    private func update(_ read: Mmed__Update) throws(CodecError) -> UpdateAnnouncement {
        let numbers = UpdateNumbers(
            learningRate: read.learning_rate, beta1: read.beta1, beta2: read.beta2, epsilon: read.epsilon,
            weightDecay: read.weight_decay, biasCorrection1: read.bias_correction1,
            biasCorrection2: read.bias_correction2, clipFactor: read.clip_factor)
        return UpdateAnnouncement(
            base: try Field.reference(read.starting, "base"), result: try Field.reference(read.result, "result"),
            numbers: numbers, gradientDigest: try Field.digest(read.gradient_digest, "gradientDigest"),
            momentsDigest: try Field.digest(read.moments_digest, "momentsDigest"))
    }
}
