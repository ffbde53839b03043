public import MMedFormats

extension FailpointSite {
    /// A blob is about to be written.
    static let blobPut = FailpointSite("blob-put-before")
    /// A blob is in its place for good, and nothing names it yet.
    static let blobIsPut = FailpointSite("blob-put-after")
    /// A file has its own name; its folder is not yet on the disk.
    static let fileRenamed = FailpointSite("file-renamed")
    /// A file is in its place for good.
    static let filePlaced = FailpointSite("file-placed")
    /// A checkpoint's state is in its place, the manifest still names the one before.
    static let checkpointStateWritten = FailpointSite("checkpoint-state-written")
    /// The manifest names the new state.
    static let checkpointManifestWritten = FailpointSite("checkpoint-manifest-written")
    /// A transaction of the journal has begun.
    static let journalBegun = FailpointSite("journal-begun")
    /// Its records are written, not committed.
    static let journalWritten = FailpointSite("journal-written")
    /// They are on the disk, and nobody knows yet.
    static let journalCommitted = FailpointSite("journal-committed")
}

extension RunFolder {
    /// The steps of the run folder that a test can hit, in the order of a checkpoint.
    public static let failpoints: [FailpointSite] = [
        .blobPut, .blobIsPut, .fileRenamed, .filePlaced, .checkpointStateWritten, .checkpointManifestWritten,
        .journalBegun, .journalWritten, .journalCommitted,
    ]
}
