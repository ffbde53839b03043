/// A byte-level BPE tokenizer as its file defines it, before it is made fit for work.
public struct TokenizerDefinition: Sendable {
    /// Which regular expression cuts a text into words.
    public enum Pattern: String, CaseIterable, Sendable {
        /// GPT-2: contractions, a space with letters, a space with numbers, a space with the rest, spaces.
        case gpt2
        /// Qwen2: any case in contractions, single numbers, line ends stay with what is before them.
        case qwen2
        /// Llama 3: as Qwen2, but up to three numbers together.
        case llama3
    }

    /// A token that is found in the text before any word is cut.
    public struct Added: Hashable, Sendable {
        /// Token id.
        public var id: Int32
        /// The text that stands for it.
        public var content: String
        /// A control token, which `skipSpecial` leaves out of decoded text.
        public var isSpecial: Bool

        /// A token with its text.
        public init(id: Int32, content: String, isSpecial: Bool) {
            self.id = id
            self.content = content
            self.isSpecial = isSpecial
        }
    }

    /// Two tokens that become one.
    public struct Merge: Hashable, Sendable {
        /// The parts, in the byte-level alphabet.
        public var left: String, right: String

        /// Two parts.
        public init(left: String, right: String) {
            self.left = left
            self.right = right
        }
    }

    /// Text of each token by id; ordinary tokens are written in the byte-level alphabet. Nil where an id is not in use.
    public var tokens: [String?]
    /// In order of priority, the first is made first.
    public var merges: [Merge]
    /// Found in the text first; the longest wins.
    public var added: [Added]
    /// How words are cut.
    public var pattern: Pattern
    /// Each numeric character is a word of its own, before the pattern is applied.
    public var splitsDigits: Bool
    /// The text is brought to Unicode normal form C first.
    public var normalisesNFC: Bool
    /// A word that is a token as it stands is not merged.
    public var ignoresMerges: Bool
    /// Stands for a byte that the vocabulary lacks; without it such a byte is left out, as the field's tokenizers do.
    public var unknownId: Int32?
    /// Where it came from, for errors.
    public var place: String

    /// All parts, in the order of the properties.
    public init(
        tokens: [String?], merges: [Merge], added: [Added], pattern: Pattern, splitsDigits: Bool,
        normalisesNFC: Bool = false, ignoresMerges: Bool = false, unknownId: Int32? = nil, place: String
    ) {
        self.tokens = tokens
        self.merges = merges
        self.added = added
        self.pattern = pattern
        self.splitsDigits = splitsDigits
        self.normalisesNFC = normalisesNFC
        self.ignoresMerges = ignoresMerges
        self.unknownId = unknownId
        self.place = place
    }
}
