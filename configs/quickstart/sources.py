"""The public patient records behind the quickstart data: where they come from and how each becomes a row.

Every source yields rows one patient at a time, from that patient's own record alone, so that no row can depend on another patient.
"""
from dataclasses import dataclass, field
from typing import Callable


@dataclass(frozen=True)
class Feature:
    """One finding of a record. `states` names the values 0 and 1 of a yes/no finding; otherwise the finding is a number."""
    key: str
    label: str
    decimals: int = 0
    unit: str = ""
    states: tuple = ()

    def shown(self, value):
        """The value as the vignette shows it: thresholds, traces and the reference see no more digits than the model."""
        return float(f"{value:.{self.decimals}f}")

    def text(self, value):
        if self.states:
            return f"{self.label} {self.states[int(value)]}".strip()
        return f"{self.label} {value:.{self.decimals}f}{' ' + self.unit if self.unit else ''}"


@dataclass(frozen=True)
class Row:
    patient: str
    id: str
    positive: bool
    values: dict
    opening: str


@dataclass(frozen=True)
class Source:
    """`options` is (positive, negative). `caps` bounds the rows of (training with traces, training, validation, test)."""
    name: str
    specialty: str
    package: str
    datasets: tuple
    license: str
    opening: str
    question: str
    options: tuple
    features: tuple
    caps: tuple
    read: Callable = field(repr=False, default=None)


GPL23, LGPL2, GPL3, MIT = "GPL-2.0-only OR GPL-3.0-only", "LGPL-2.0-or-later", "GPL-3.0-or-later", "MIT"
YEAR = 365.25


def row(source, patient, number, positive, values, opening=None):
    """A row, or nothing when a finding is missing."""
    if any(v is None or v != v for v in values.values()):
        return []
    shown = {f.key: f.shown(float(values[f.key])) for f in source.features}
    key = f"{source.name}-{patient}".lower()
    return [Row(key, f"{key}-{number}", bool(positive), shown, opening or source.opening)]


def columns(source, record):
    return {f.key: record[f.key] for f in source.features if f.key in record}


def within(event, time, horizon):
    """True: it happened by the horizon; False: followed past the horizon without it; None: not known."""
    if event and time <= horizon:
        return True
    return False if time > horizon else None


def read_pima(source, tables):
    for dataset, table in tables:
        for r in table:
            yield from row(source, f"{dataset[5:]}.{r['rownames']}", 1, r["type"] == "Yes", columns(source, r))


def read_pbc(source, tables):
    for r in tables[0][1]:
        outcome = within(r["status"] == 2, r["time"], 5 * YEAR)
        if r["trt"] != r["trt"] or r["status"] == 1 or outcome is None:
            continue
        values = dict(columns(source, r), edema=float(r["edema"] > 0))
        yield from row(source, r["id"], 1, outcome, values)


def read_nwtco(source, tables):
    for r in tables[0][1]:
        outcome = within(r["rel"] == 1, r["edrel"], 3 * YEAR)
        if outcome is not None:
            values = dict(columns(source, r), histol=r["histol"] - 1, instit=r["instit"] - 1)
            yield from row(source, r["seqno"], 1, outcome, values)


def read_ohio(source, tables):
    children = {}
    for r in tables[0][1]:
        children.setdefault(r["id"], {})[r["age"] + 9] = r
    for child in sorted(children):
        visits = children[child]
        for age in (9, 10):
            values = {"last": visits[age - 1]["resp"], "before": visits[age - 2]["resp"], "smoke": visits[age]["smoke"]}
            yield from row(source, child, age, visits[age]["resp"] == 1, values, f"Child of {age} years:")


def read_alzheimer(source, tables):
    for r in tables[0][1]:
        values = {"tau": r["tau"], "p_tau": r["p_tau"], "Ab_42": r["Ab_42"], "male": r["male"]}
        values["E4"] = str(r["Genotype"]).count("E4")
        yield from row(source, r["rownames"], 1, r["Class"] == "Impaired", values)


def read_epil(source, tables):
    patients = {}
    for r in tables[0][1]:
        patients.setdefault(r["subject"], {})[r["period"]] = r
    for subject in sorted(patients):
        visits = patients[subject]
        for period in (2, 3, 4):
            r = visits[period]
            values = {"last": visits[period - 1]["y"], "base": r["base"], "age": r["age"],
                      "drug": r["trt"] == "progabide"}
            yield from row(source, subject, period, r["y"] >= 5, values)


def read_retinopathy(source, tables):
    for r in tables[0][1]:
        outcome = within(r["status"] == 1, r["futime"], 36)
        if outcome is not None:
            values = {"risk": r["risk"], "trt": r["trt"], "age": r["age"], "juvenile": r["type"] == "juvenile"}
            yield from row(source, r["id"], 1 + r["trt"], outcome, values)


def read_biopsy(source, tables):
    for r in tables[0][1]:
        yield from row(source, r["ID"], r["rownames"], r["class"] == "malignant", columns(source, r))


def read_melanoma(source, tables):
    for r in tables[0][1]:
        outcome = within(r["status"] == 1, r["time"], 5 * YEAR)
        if outcome is not None:
            yield from row(source, r["rownames"], 1, outcome, columns(source, r))


def read_colon(source, tables):
    for r in tables[0][1]:
        outcome = within(r["status"] == 1, r["time"], 5 * YEAR)
        if r["etype"] == 2 and outcome is not None:
            values = dict(columns(source, r), chemo=r["rx"] == "Lev+5FU")
            yield from row(source, r["id"], 1, outcome, values)


YES_NO, PRESENT = ("no", "yes"), ("absent", "present")

SOURCES = (
    Source("pima", "adult-medicine", "MASS", ("Pima.tr", "Pima.te"), GPL23, "Pima woman:", "Does she have diabetes?",
           ("diabetes", "no diabetes"),
           (Feature("glu", "glucose"), Feature("bmi", "BMI"), Feature("age", "age"), Feature("npreg", "pregnancies"),
            Feature("ped", "pedigree", 1), Feature("skin", "skin fold"), Feature("bp", "blood pressure")),
           (170, 240, 52, 80), read_pima),
    Source("pbc", "adult-medicine", "survival", ("pbc",), LGPL2, "Primary biliary cholangitis:",
           "What is the outcome in 5 years?", ("death", "survival"),
           (Feature("bili", "bilirubin", 1), Feature("albumin", "albumin", 1), Feature("protime", "clotting time", 1),
            Feature("copper", "copper"), Feature("age", "age"), Feature("stage", "stage"),
            Feature("edema", "edema", states=PRESENT), Feature("ascites", "ascites", states=PRESENT)),
           (80, 120, 24, 40), read_pbc),
    Source("nwtco", "pediatrics", "survival", ("nwtco",), LGPL2, "Child with Wilms tumor:",
           "What follows in 3 years?", ("relapse", "remission"),
           (Feature("histol", "histology", states=("favorable", "unfavorable")),
            Feature("instit", "local reading", states=("favorable", "unfavorable")), Feature("stage", "stage"),
            Feature("age", "age", unit="months")),
           (160, 400, 44, 100), read_nwtco),
    Source("ohio", "pediatrics", "geepack", ("ohio",), GPL3, "Child:", "Does the child wheeze this year?",
           ("wheeze", "clear breathing"),
           (Feature("last", "wheeze last year", states=YES_NO), Feature("before", "wheeze two years ago", states=YES_NO),
            Feature("smoke", "mother smokes", states=YES_NO)),
           (80, 120, 20, 40), read_ohio),
    Source("alzheimer", "brain-and-senses", "modeldata", ("ad_data",), MIT, "Spinal fluid of an older adult:",
           "How is cognition?", ("impaired", "healthy"),
           (Feature("tau", "tau", 1), Feature("p_tau", "phospho-tau", 1), Feature("Ab_42", "amyloid", 1),
            Feature("E4", "E4 alleles"), Feature("male", "sex", states=("female", "male"))),
           (110, 130, 28, 56), read_alzheimer),
    Source("epil", "brain-and-senses", "MASS", ("epil",), GPL23, "Patient with epilepsy:",
           "Seizures in the next two weeks: many (5 or more) or few?", ("many", "few"),
           (Feature("last", "recent seizures"), Feature("base", "baseline seizures"), Feature("age", "age"),
            Feature("drug", "drug", states=("placebo", "progabide"))),
           (80, 120, 12, 16), read_epil),
    Source("retinopathy", "brain-and-senses", "survival", ("retinopathy",), LGPL2, "Eye with diabetic retinopathy:",
           "What becomes of its sight in 3 years?", ("loss", "kept"),
           (Feature("trt", "laser", states=("none", "done")), Feature("risk", "risk score"),
            Feature("age", "age at diagnosis"), Feature("juvenile", "diabetes", states=("adult", "juvenile"))),
           (70, 130, 44, 44), read_retinopathy),
    Source("biopsy", "oncology-and-surgery", "MASS", ("biopsy",), GPL23, "Breast mass cells, scored 1 to 10:",
           "What is the mass?", ("malignant", "benign"),
           (Feature("V2", "cell size"), Feature("V3", "cell shape"), Feature("V6", "bare nuclei"),
            Feature("V7", "chromatin"), Feature("V1", "clump thickness"), Feature("V5", "epithelial size"),
            Feature("V8", "nucleoli"), Feature("V4", "adhesion"), Feature("V9", "mitoses")),
           (150, 240, 36, 80), read_biopsy),
    Source("melanoma", "oncology-and-surgery", "MASS", ("Melanoma",), GPL23, "Melanoma, removed:",
           "What is the outcome in 5 years?", ("death", "survival"),
           (Feature("thickness", "thickness", 1, "mm"), Feature("ulcer", "ulcer", states=PRESENT), Feature("age", "age"),
            Feature("sex", "sex", states=("female", "male"))),
           (40, 60, 10, 20), read_melanoma),
    Source("colon", "oncology-and-surgery", "survival", ("colon",), LGPL2, "Colon cancer, removed:",
           "What is the outcome in 5 years?", ("death", "survival"),
           (Feature("nodes", "positive nodes"), Feature("extent", "depth grade"), Feature("differ", "cell grade"),
            Feature("obstruct", "obstruction", states=PRESENT), Feature("adhere", "adherence", states=PRESENT),
            Feature("age", "age"), Feature("chemo", "chemotherapy", states=YES_NO)),
           (60, 160, 18, 40), read_colon),
)
