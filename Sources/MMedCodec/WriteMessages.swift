import CWire
import MMedCore
import MMedProtocol

extension WireWriter {
    /// The C struct of a worker's message with its type; the message was checked before.
    func write(_ message: WorkerMessage) throws(CodecError) -> (WorkerType, UnsafePointer<ProtobufCMessage>) {
        switch message {
        case .hello(let hello): return (.hello, asMessage(try write(hello)))
        case .ready(let credits):
            let made = try make(mmed__ready__init)
            made.pointee.credits = UInt32(credits)
            return (.ready, asMessage(made))
        case .trajectories(let lease, let trajectories):
            let made = try make(mmed__trajectories__init)
            made.pointee.fence = lease.fence
            var written: [Pointer<Mmed__Trajectory>] = []
            for trajectory in trajectories { written.append(try self.trajectory(trajectory)) }
            (made.pointee.trajectories, made.pointee.n_trajectories) = try list(written)
            return (.trajectories, asMessage(made))
        case .gradientChunk(let chunk): return (.gradientChunk, asMessage(try write(chunk)))
        case .leaseFailed(let lease, let reason):
            let made = try make(mmed__lease_failed__init)
            made.pointee.fence = lease.fence
            made.pointee.reason = try text(reason, limit: Limits.reasonBytes)
            return (.leaseFailed, asMessage(made))
        case .updateApplied(let adapter):
            let made = try make(mmed__update_applied__init)
            made.pointee.adapter = try reference(adapter)
            return (.updateApplied, asMessage(made))
        case .canary(let canary):
            let made = try make(mmed__canary__init)
            made.pointee.adapter = try reference(canary.adapter)
            made.pointee.logprob = canary.logprob
            return (.canary, asMessage(made))
        case .blobRequest(let digest, let offset):
            let made = try make(mmed__blob_request__init)
            made.pointee.digest = try self.digest(digest)
            made.pointee.offset = UInt64(offset)
            return (.blobRequest, asMessage(made))
        case .beat(let beat):
            let made = try make(mmed__beat__init)
            made.pointee.phase = UInt32(bitPattern: beat.phase.rawValue)
            made.pointee.progress = beat.progress
            made.pointee.fences = try words(beat.leases.map(\.fence))
            return (.beat, asMessage(made))
        case .goodbye(let reason):
            let made = try make(mmed__goodbye__init)
            made.pointee.reason = try text(reason, limit: Limits.reasonBytes)
            return (.goodbye, asMessage(made))
        }
    }

    private func write(_ hello: Hello) throws(CodecError) -> Pointer<Mmed__Hello> {
        let made = try make(mmed__hello__init)
        made.pointee.role = hello.role.wireCode
        made.pointee.name = try name(hello.name)
        made.pointee.instance = hello.instance
        made.pointee.model_digest = try digest(hello.modelDigest)
        made.pointee.threads = UInt32(hello.threads)
        (made.pointee.adapters, made.pointee.n_adapters) = try byteList(hello.adapters.map { Array($0.text.utf8) })
        made.pointee.host = try text(hello.host, limit: Limits.hostBytes)
        made.pointee.process_id = hello.processID
        return made
    }

    private func write(_ chunk: GradientChunk) throws(CodecError) -> Pointer<Mmed__GradientChunk> {
        let made = try make(mmed__gradient_chunk__init)
        made.pointee.fence = chunk.lease.fence
        made.pointee.shard = try shard(chunk.shard)
        made.pointee.offset = UInt64(chunk.offset)
        made.pointee.total_bytes = UInt64(chunk.totalBytes)
        made.pointee.digest = try digest(chunk.digest)
        made.pointee.content = try bytes(chunk.bytes)
        made.pointee.statistics = try statistics(chunk.statistics)
        return made
    }

    /// The C struct of a coordinator's message with its type; the message was checked before.
    func write(_ message: CoordinatorMessage) throws(CodecError) -> (CoordinatorType, UnsafePointer<ProtobufCMessage>) {
        switch message {
        case .welcome(let welcome): return (.welcome, asMessage(try write(welcome)))
        case .refused(let reason, let mend):
            let made = try make(mmed__refused__init)
            made.pointee.reason = try text(reason, limit: Limits.reasonBytes)
            made.pointee.mend = try text(mend, limit: Limits.reasonBytes)
            return (.refused, asMessage(made))
        case .introduceYourself: return (.introduceYourself, asMessage(try make(mmed__introduce_yourself__init)))
        case .rollout(let lease): return (.rollout, asMessage(try write(lease)))
        case .gradient(let lease): return (.gradient, asMessage(try write(lease)))
        case .trajectoriesRecorded(let lease, let slots):
            let made = try make(mmed__trajectories_recorded__init)
            made.pointee.fence = lease.fence
            made.pointee.slots = try self.slots(slots)
            return (.trajectoriesRecorded, asMessage(made))
        case .gradientReceived(let lease, let bytes):
            let made = try make(mmed__gradient_received__init)
            made.pointee.fence = lease.fence
            made.pointee.received_bytes = UInt64(bytes)
            return (.gradientReceived, asMessage(made))
        case .leaseRevoked(let lease, let reason):
            let made = try make(mmed__lease_revoked__init)
            made.pointee.fence = lease.fence
            made.pointee.reason = try text(reason, limit: Limits.reasonBytes)
            return (.leaseRevoked, asMessage(made))
        case .update(let update): return (.update, asMessage(try write(update)))
        case .blobChunk(let digest, let offset, let totalBytes, let bytes):
            let made = try make(mmed__blob_chunk__init)
            made.pointee.digest = try self.digest(digest)
            made.pointee.offset = UInt64(offset)
            made.pointee.total_bytes = UInt64(totalBytes)
            made.pointee.content = try self.bytes(bytes)
            return (.blobChunk, asMessage(made))
        case .blobMissing(let digest):
            let made = try make(mmed__blob_missing__init)
            made.pointee.digest = try self.digest(digest)
            return (.blobMissing, asMessage(made))
        case .drain: return (.drain, asMessage(try make(mmed__drain__init)))
        case .end(let reason):
            let made = try make(mmed__end__init)
            made.pointee.reason = try text(reason, limit: Limits.reasonBytes)
            return (.end, asMessage(made))
        }
    }

    private func write(_ welcome: Welcome) throws(CodecError) -> Pointer<Mmed__Welcome> {
        let made = try make(mmed__welcome__init)
        made.pointee.run = try name(welcome.run)
        made.pointee.seed = welcome.seed
        made.pointee.beat_milliseconds = UInt32(welcome.beatMilliseconds)
        var written: [Pointer<Mmed__AdapterDescription>] = []
        for adapter in welcome.adapters { written.append(try self.adapter(adapter)) }
        (made.pointee.adapters, made.pointee.n_adapters) = try list(written)
        made.pointee.canary_ids = try words(welcome.canaryIds)
        return made
    }

    private func write(_ lease: RolloutLease) throws(CodecError) -> Pointer<Mmed__Rollout> {
        let made = try make(mmed__rollout__init)
        made.pointee.fence = lease.lease.fence
        made.pointee.duration_milliseconds = UInt32(lease.durationMilliseconds)
        var written: [Pointer<Mmed__QuestionWork>] = []
        for question in lease.questions { written.append(try self.question(question)) }
        (made.pointee.questions, made.pointee.n_questions) = try list(written)
        return made
    }

    private func write(_ lease: GradientLease) throws(CodecError) -> Pointer<Mmed__Gradient> {
        let made = try make(mmed__gradient__init)
        made.pointee.fence = lease.lease.fence
        made.pointee.duration_milliseconds = UInt32(lease.durationMilliseconds)
        made.pointee.shard = try shard(lease.shard)
        made.pointee.adapter = try reference(lease.adapter)
        made.pointee.reference = try reference(lease.reference)
        made.pointee.prox = try reference(lease.prox)
        if case .policy(let settings) = lease.objective { made.pointee.policy = try policy(settings) }
        made.pointee.temperature = lease.temperature
        var written: [Pointer<Mmed__Microbatch>] = []
        for microbatch in lease.microbatches { written.append(try self.microbatch(microbatch)) }
        (made.pointee.microbatches, made.pointee.n_microbatches) = try list(written)
        return made
    }

    private func write(_ update: UpdateAnnouncement) throws(CodecError) -> Pointer<Mmed__Update> {
        let made = try make(mmed__update__init)
        made.pointee.starting = try reference(update.base)
        made.pointee.result = try reference(update.result)
        made.pointee.learning_rate = update.numbers.learningRate
        made.pointee.beta1 = update.numbers.beta1
        made.pointee.beta2 = update.numbers.beta2
        made.pointee.epsilon = update.numbers.epsilon
        made.pointee.weight_decay = update.numbers.weightDecay
        made.pointee.bias_correction1 = update.numbers.biasCorrection1
        made.pointee.bias_correction2 = update.numbers.biasCorrection2
        made.pointee.clip_factor = update.numbers.clipFactor
        made.pointee.gradient_digest = try digest(update.gradientDigest)
        made.pointee.moments_digest = try digest(update.momentsDigest)
        return made
    }
}
