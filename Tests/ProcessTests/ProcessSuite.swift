import Testing

/// The real programs over real sockets on loopback. They take turns: each test starts several processes of its own.
@Suite(.serialized) struct Processes {}
