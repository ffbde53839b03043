"""The reference beside the results: logistic regression, on the same findings that the vignettes show."""
import hashlib

import numpy


def logistic(x, y, weight):
    """Ridge-penalised logistic regression by Newton steps on standardised columns; returns a predictor."""
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale[scale == 0] = 1
    design = lambda m: numpy.hstack([numpy.ones((len(m), 1)), (m - mean) / scale])
    a, beta = design(x), numpy.zeros(x.shape[1] + 1)
    ridge = numpy.diag([0.0] + [1.0] * x.shape[1])
    for _ in range(40):
        p = 1 / (1 + numpy.exp(-numpy.clip(a @ beta, -30, 30)))
        gradient = a.T @ (weight * (y - p)) - ridge @ beta
        step = numpy.linalg.solve((a.T * (weight * p * (1 - p))) @ a + ridge + 1e-9 * numpy.eye(len(beta)), gradient)
        beta = beta + step
        if abs(step).max() < 1e-10:
            break
    return lambda m: design(m) @ beta > 0


def matrix(rows, features):
    return numpy.array([[r.values[f.key] for f in features] for r in rows], dtype=float)


def folds(rows, features):
    """Balanced accuracy of 5-fold logistic regression over all eligible rows; the folds are cut by patient."""
    fold = numpy.array([hashlib.sha256(b"fold|" + r.patient.encode()).digest()[0] % 5 for r in rows])
    x, y = matrix(rows, features), numpy.array([r.positive for r in rows])
    guess = numpy.zeros(len(y), dtype=bool)
    for k in range(5):
        inside = fold != k
        rate = y[inside].mean()
        weight = numpy.where(y[inside], 0.5 / rate, 0.5 / (1 - rate))
        guess[~inside] = logistic(x[inside], y[inside].astype(float), weight)(x[~inside])
    return float(((guess & y).sum() / y.sum() + (~guess & ~y).sum() / (~y).sum()) / 2)


class Fit:
    """One source: the fit on its training rows, and what it says of each validation and test row."""

    def __init__(self, source, evidence, every, picked):
        self.source, self.every = source, every
        train = picked["train"][0] + picked["train"][1]
        y = numpy.array([float(r.positive) for r in train])
        predict = logistic(matrix(train, evidence.shown), y, numpy.ones(len(y)))
        self.right, self.rule = {}, {}
        for split in ("validation", "test"):
            rows = picked[split][0] + picked[split][1]
            for r, guess in zip(rows, predict(matrix(rows, evidence.shown))):
                self.right[r.id] = bool(guess) == r.positive
                self.rule[r.id] = evidence.favours(r, evidence.pair) is r.positive
        self.cross = folds(every, source.features)


def report(fits, order):
    """`order[split, specialty]` lists the records as they stand in the files."""
    right = {key: value for fit in fits for key, value in fit.right.items()}
    rule = {key: value for fit in fits for key, value in fit.rule.items()}
    out = {"sources": {}, "specialties": {}}
    for fit in fits:
        ids = [i for i in (r["id"] for r in order["test", fit.source.specialty]) if i in fit.right]
        out["sources"][fit.source.name] = {
            "rows": len(fit.every), "fiveFoldBalancedAccuracy": round(fit.cross, 3),
            "logisticRegression": share([fit.right[i] for i in ids]), "twoFindingRule": share([fit.rule[i] for i in ids])}
    for specialty in dict.fromkeys(fit.source.specialty for fit in fits):
        rows = order["test", specialty]
        train = [r["answer"] for r in order["train", specialty]]
        letter = max("AB", key=train.count)
        entry = {}
        for name, part in (("all", rows), ("first24", rows[:24])):
            entry[name] = {
                "rows": len(part),
                "logisticRegression": share([right[r["id"]] for r in part]),
                "twoFindingRule": share([rule[r["id"]] for r in part]),
                "majorityClass": share([i % 2 == 0 for i in range(len(part))]),
                "majorityLetter": {"letter": letter, **share([r["answer"] == letter for r in part])}}
        entry["validation"] = {"rows": len(order["validation", specialty]),
                               "logisticRegression": share([right[r["id"]] for r in order["validation", specialty]])}
        out["specialties"][specialty] = entry
    out["testAnswers"] = {
        r["id"]: r["answer"] if right[r["id"]] else "BA"["AB".index(r["answer"])]
        for specialty in out["specialties"] for r in order["test", specialty]}
    return out


def share(hits):
    return {"correct": int(sum(hits)), "of": len(hits), "accuracy": round(sum(hits) / len(hits), 4)}
