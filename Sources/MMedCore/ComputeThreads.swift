/// How many threads a process may compute with: one limit for cluster files, command lines, the wire and the pool.
public enum ComputeThreads {
    /// From one to what no host of this kind of work exceeds.
    public static let allowed = 1...256
}
