import MMedProtocol

/// Which programs these are: coordinator and workers of a run must speak the same wire version.
public enum Release {
    /// What `--version` prints.
    public static let text = "mmed 0.1.0, wire version \(WireVersion.major).\(WireVersion.minor)"
}
