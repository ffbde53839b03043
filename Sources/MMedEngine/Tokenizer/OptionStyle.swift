/// How an option stands beside its letter, in a question and where a reasoning trace cites it.
public enum OptionStyle: String, CaseIterable, Sendable {
    /// `A. benign`, as exams print it.
    case letterFirst
    /// `benign (A)`: what follows an option's text is then its letter, in the question as in the trace, which a small model
    /// can copy. In the other order it must look up what stood before.
    case letterLast

    /// The option with its letter.
    public func written(_ option: String, _ letter: String) -> String {
        switch self {
        case .letterFirst: "\(letter). \(option)"
        case .letterLast: "\(option) (\(letter))"
        }
    }
}
