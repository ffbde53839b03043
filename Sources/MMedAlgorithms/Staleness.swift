/// Whether a sample of policy version `sampled` may still enter an update of version `current`: at most `lagMax` versions
/// behind and never ahead.
public func admitsSample(sampled: Int, current: Int, lagMax: Int) -> Bool {
    let (lag, overflow) = current.subtractingReportingOverflow(sampled)
    return !overflow && lag >= 0 && lag <= lagMax
}
