public import MMedCore

/// One question about one patient: a line of a data file (schema: `configs/quickstart/README.md`).
public struct QuestionRecord: Equatable, Sendable {
    /// Unique in its file.
    public let id: String
    /// Whose adapter it trains or tests.
    public let specialty: Name
    /// Vignette and question, without the options.
    public let question: String
    /// 2 to 26 texts, lettered A, B, … in this order.
    public let options: [String]
    /// Index into `options` of the right one.
    public let answerIndex: Int
    /// Absolute path of the image; nil for text alone.
    public let image: String?
    /// Whom it is about; a patient belongs to one split.
    public let patient: String
    /// Where the record comes from.
    public let source: String
    /// Licence of that source.
    public let license: String
    /// Supervised traces by guideline; empty where the line has none.
    public let reasoning: [Name: String]
    /// Line of the file, from 1.
    public let line: Int

    /// Letter of the right option.
    public var answer: Character { QuestionRecord.letter(answerIndex) }

    /// `A` for 0 to `Z` for 25.
    public static func letter(_ index: Int) -> Character {
        precondition((0..<26).contains(index), "an option index is below 26")
        return Character(UnicodeScalar(UInt8(0x41 + index)))
    }
}

/// What a data file may hold at most; a longer line or file is refused before it is read as JSON.
public struct DatasetLimits: Equatable, Sendable {
    /// Bytes of a line without its end.
    public var lineBytes = 65_536
    /// Bytes of a file.
    public var fileBytes = 1 << 30
    /// Lines of a file.
    public var lines = 1_000_000

    /// The defaults.
    public init() {}
}

/// What `Dataset.load` does with a line of a specialty that the run does not have.
public enum ForeignSpecialty: Equatable, Sendable {
    /// An error that names the line: the default, for it may be a typing mistake.
    case refuse
    /// The line is checked, then left out and counted; a name that is a slip of one of the run's is an error all the same.
    case leaveOut
}
