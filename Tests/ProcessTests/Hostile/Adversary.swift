import Foundation
import MMedCore
import MMedProtocol

@testable import MMedTransport

/// One enemy of a run on a thread of its own, connection after connection until the attack is over.
final class Adversary: Sendable {
    /// What it has to show at the door.
    enum Standing: Sendable {
        /// A run without keys: everybody of this machine may connect.
        case guest(WorkerRole, Name)
        /// A key of the list, a name that it stands for, and a role that may be another than the key's.
        case listed(WorkerKey, Name, claims: WorkerRole)
        /// A run with keys, and a new key of its own each time.
        case stranger(coordinator: PublicKey)
        /// A run with keys, and none.
        case keyless
    }

    private let standing: Standing
    private let address: String
    private let modelDigest: Digest
    private let seed: UInt64
    private let tally: HostileTally
    private let place: HostilePlace
    /// Malformed messages of a connection: below the number at which it is closed.
    private static let malformedMax = Limits.malformedFrames - 8
    private static let messagesMax = 512
    /// Turns of 50 ms for an answer, before the connection is given up or the question asked again.
    private static let turns = 40

    init(
        _ standing: Standing, at address: String, modelDigest: Digest, seed: UInt64, tally: HostileTally,
        _ place: HostilePlace
    ) {
        self.standing = standing
        self.address = address
        self.modelDigest = modelDigest
        self.seed = seed
        self.tally = tally
        self.place = place
    }

    /// Begins; `done` is called when the thread has ended, with what went wrong on this side.
    func start(done: @escaping @Sendable (String?) -> Void) {
        let thread = Thread { [self] in
            place.take()
            do {
                try attack()
                done(nil)
            } catch { done("\(error)") }
        }
        thread.stackSize = 8 << 20
        thread.start()
    }

    private func attack() throws {
        switch standing {
        case .guest(let role, let name): try speak(as: role, name, .open)
        case .listed(let key, let name, let claims):
            try speak(as: claims, name, .worker(key.pair, coordinator: key.coordinator))
        case .stranger(let coordinator):
            while !tally.isEnded { try knock(.worker(try KeyPair.generate(), coordinator: coordinator)) }
        case .keyless: while !tally.isEnded { try knock(.open) }
        }
    }

    /// Some connections that must be refused. One that is not ends the attack with a word.
    private func knock(_ security: WireSocket.Security) throws {
        let peer = try HostilePeer(address, security) { [tally] in tally.isEnded }
        defer { peer.close() }
        for _ in 0..<16 where !tally.isEnded {
            if peer.isRefusedAgain() {
                tally.add([.unknownKey: 1], wereRead: true)
            } else if !tally.isEnded {
                throw Failure("a connection without a key of the list was let in")
            }
        }
    }

    // MARK: Behind the door

    private func speak(as role: WorkerRole, _ name: Name, _ security: WireSocket.Security) throws {
        let hello = Hello(
            role: role, name: name, instance: seed, modelDigest: modelDigest, threads: 1, adapters: [],
            host: "elsewhere", processID: 1)
        var letters = HostileLetters(hello: hello, seed: seed)
        var connection = 0
        while !tally.isEnded {
            let peer = try HostilePeer(address, security) { [tally] in tally.isEnded }
            defer { peer.close() }
            try converse(peer, &letters, connection: connection)
            connection += 1
        }
    }

    /// One connection: an honest beginning, whatever the deck holds, an honest end, and a question whose answer says that
    /// all before it was read. Every fourth goes on beyond what the coordinator bears.
    private func converse(_ peer: HostilePeer, _ letters: inout HostileLetters, connection: Int) throws {
        guard try greet(peer, &letters) else { return }
        var held = connection % 8 == 1 ? try askForLease(peer, &letters) : nil
        let isRude = connection % 4 == 3
        var malformed = 0
        var sent: [HostileKind: Int] = [:]
        for _ in 0..<Adversary.messagesMax where !tally.isEnded {
            if !isRude && malformed >= Adversary.malformedMax { break }
            let letter = try letters.next(peer.sequence, held: held)
            // What is lost with a connection that breaks must not be a lease that nobody gives back.
            if letter.closes || letter.endsSession { try giveBack(&held, peer, &letters) }
            guard peer.send(letter.parts) else { return }
            sent[letter.kind, default: 0] += 1
            if letter.isMalformed { malformed += 1 }
            if letter.closes { break }
            if letter.endsSession, try peer.say(.hello(letters.hello)) == nil { return }
            while let message = peer.heard() {
                learn(message, &letters)
                guard try answer(message, peer, letters) else { return }
            }
        }
        // Whether it knows of a lease or not: one may be on its way.
        guard let goodbye = try peer.say(.goodbye(reason: "enough")) else { return }
        letters.record(goodbye)
        if held != nil { tally.gaveBack() }
        guard try isRead(peer, &letters) else { return }
        letters.words.material.release()
        tally.add(sent, wereRead: peer.isWhole)
    }

    /// As a worker would; false when the attack is over.
    private func answer(_ message: CoordinatorMessage, _ peer: HostilePeer, _ letters: HostileLetters) throws -> Bool {
        switch message {
        case .introduceYourself, .end: try peer.say(.hello(letters.hello)) != nil
        default: true
        }
    }

    private func learn(_ message: CoordinatorMessage, _ letters: inout HostileLetters) {
        switch message {
        case .rollout(let lease): letters.words.material.take(lease)
        case .gradient(let lease): letters.words.material.take(lease)
        default: break
        }
    }

    /// An honest beginning, of which the frames are remembered.
    private func greet(_ peer: HostilePeer, _ letters: inout HostileLetters) throws -> Bool {
        guard let hello = try peer.say(.hello(letters.hello)),
            let beat = try peer.say(.beat(Beat(phase: .idle, progress: 0, leases: []))),
            let request = try peer.say(.blobRequest(modelDigest, offset: 0))
        else { return false }
        for frame in [hello, beat, request] { letters.record(frame) }
        return true
    }

    /// A lease that is asked for in honesty; nil when there is no work just now.
    private func askForLease(_ peer: HostilePeer, _ letters: inout HostileLetters) throws -> LeaseID? {
        guard try peer.say(.ready(credits: 1)) != nil else { return nil }
        let found = peer.next(turns: 2) {
            switch $0 {
            case .rollout, .gradient: true
            default: false
            }
        }
        guard let found else {
            // The credit must not bring a lease that nobody expects.
            if let goodbye = try peer.say(.goodbye(reason: "no work")) { letters.record(goodbye) }
            _ = try peer.say(.hello(letters.hello))
            return nil
        }
        learn(found, &letters)
        switch found {
        case .rollout(let lease): return lease.lease
        case .gradient(let lease): return lease.lease
        default: return nil
        }
    }

    /// Leaves in good order, which opens the lease's work for others at once, and joins anew.
    private func giveBack(_ held: inout LeaseID?, _ peer: HostilePeer, _ letters: inout HostileLetters) throws {
        guard held != nil else { return }
        held = nil
        guard let goodbye = try peer.say(.goodbye(reason: "changed my mind")) else { return }
        letters.record(goodbye)
        letters.words.material.release()
        tally.gaveBack()
        _ = try peer.say(.hello(letters.hello))
    }

    /// Asks with another model's digest until the refusal that names it comes. False when the attack is over before.
    private func isRead(_ peer: HostilePeer, _ letters: inout HostileLetters) throws -> Bool {
        var words = HostileWords(seed: seed ^ peer.sequence)
        while !tally.isEnded {
            var hello = letters.hello
            if case .listed(let key, _, _) = standing { hello.role = key.identity.role }
            hello.modelDigest = words.digest()
            guard try peer.say(.hello(hello)) != nil else { return false }
            let answer = peer.next(turns: Adversary.turns, rest: { learn($0, &letters) }) { message in
                guard case .refused(let reason, _) = message else { return false }
                return reason.contains(hello.modelDigest.short)
            }
            if answer != nil { return true }
        }
        return false
    }
}
