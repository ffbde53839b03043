import MMedCore

/// Every size, count and depth that the wire allows, in one place. A message beyond one of them is refused by the sender and by the receiver.
/// Tests hold the limits against each other (`MMedCodecTests`).
public enum Limits {
    // MARK: Frames

    /// Bytes of one frame, header included: `ZMQ_MAXMSGSIZE` of every socket.
    public static let frameBytes = 4 << 20
    /// Bytes of the header of every frame.
    public static let headerBytes = 32
    /// Bytes of a payload, before and after compression.
    public static let payloadBytes = frameBytes - headerBytes
    /// Payloads smaller than this are never compressed.
    public static let compressFromBytes = 512
    /// Raw bytes for one compressed byte at most, so that no small frame unfolds into a large one.
    public static let compressionRatio = 64
    /// Bytes that reading one payload may take from the budget allocator.
    public static let decodeArenaBytes = 24 << 20
    /// Blocks that reading one payload may take from the budget allocator.
    public static let decodeArenaBlocks = 1 << 16

    // MARK: Transfers

    /// Bytes of one piece of a blob.
    public static let blobChunkBytes = 256 << 10
    /// Requests for pieces of blobs that one worker may have open.
    public static let blobRequestsOutstanding = 8
    /// Bytes of one piece of a gradient.
    public static let gradientChunkBytes = 1 << 20
    /// Bytes of a whole blob or gradient.
    public static let blobBytes = 8 << 30

    // MARK: Sessions

    /// Connections that the coordinator's end keeps apart; the longest silent one makes room.
    public static let peers = 4096
    /// Malformed frames of one connection before the coordinator's end closes it.
    public static let malformedFrames = 64
    /// Leases that one `ready` may ask for.
    public static let credits = 1024
    /// Leases that one beat may name.
    public static let leasesPerBeat = 1024
    /// Compute threads of a worker.
    public static let threads = ComputeThreads.allowed.upperBound
    /// Adapters of a run.
    public static let adapters = 64
    /// Rank of an adapter.
    public static let rank = 1024
    /// UTF-8 bytes of a host's name.
    public static let hostBytes = 255
    /// UTF-8 bytes of a reason or a mend.
    public static let reasonBytes = 1024
    /// Milliseconds between beats.
    public static let beatMilliseconds = 1...600_000
    /// Milliseconds of a lease.
    public static let leaseMilliseconds = 1...86_400_000

    // MARK: Work

    /// Token ids lie below this.
    public static let vocabulary: Int32 = 1 << 24
    /// Tokens of one prefix, suffix or completion.
    public static let sequenceTokens = 1 << 16
    /// Questions of one rollout lease.
    public static let questionsPerLease = 1024
    /// Prompts of one question.
    public static let suffixesPerQuestion = 64
    /// Paths of one lease, question, tree or message.
    public static let paths = 4096
    /// Options of one question, one for each letter.
    public static let options = 26
    /// UTF-8 bytes of an option's text.
    public static let optionBytes = 4096
    /// Pay for a well-formed answer.
    public static let formatBonus = 0.2
    /// Microbatches of one shard.
    public static let microbatches = 4096
    /// Trees of one microbatch.
    public static let treesPerMicrobatch = 4096
    /// An index of a stage, track, step, question, guideline, sample, update or shard lies below this.
    public static let index: Int32 = 1 << 30
    /// A version of an adapter lies below this.
    public static let version = 1 << 31
    /// Tokens of the canary prompt: enough to tell weights apart, few enough to cost nothing beside a step.
    public static let canaryTokens = 24
    /// Two workers' canaries of one version may differ by so much: another processor rounds otherwise, other weights do not.
    public static let canaryDifference = 0.01
    /// Tokens or milliseconds that a shard's figures may name: the sums over all shards of an update must fit.
    public static let shardFigure = 1 << 40
    /// A log-prob may exceed 0 by so much through rounding.
    public static let logprobExcess: Float = 0.01

    // MARK: Queues of an endpoint

    /// Bytes that the coordinator's end queues for one peer before it gives the peer up.
    public static let peerQueueBytes = 32 << 20
    /// Bytes that a worker's end queues before `send` waits.
    public static let workerQueueBytes = 8 << 20
    /// Bytes of messages that nobody has taken yet before an endpoint stops to read its socket.
    public static let inboundQueueBytes = 64 << 20
    /// Messages that nobody has taken yet before an endpoint stops to read its socket. ZeroMQ takes them from its connections
    /// in turn, so this queue is all that one that floods can put before the others.
    public static let inboundQueueMessages = 512
    /// Bytes of one connection that ZeroMQ may hold before the coordinator's end closes it: as many as twice the messages that
    /// it queues are of pieces of gradients.
    public static let unheardBytes = 2 * highWaterMark * gradientChunkBytes
    /// The same for all connections together; those with the most are closed.
    public static let unheardBytesTogether = 512 << 20
    /// Messages taken from a socket in one turn, so that sends get theirs.
    public static let receivesPerTurn = 256
    /// Messages that ZeroMQ queues for a connection in each direction.
    public static let highWaterMark = 64
    /// Milliseconds in which `close` sends what is queued.
    public static let closeMilliseconds = 1000
    /// Milliseconds in which the coordinator, before it hangs up, waits for the goodbyes of those it has told the end.
    public static let goodbyeMilliseconds = 3000
}
