"""Families beside the baseline: the same windows, and honest advice."""

from dataclasses import replace
from itertools import count

import numpy as np
import pytest
import torch

from models.compare import Entry, best_of, compare, microseconds
from models.judgement import Average, Summary
from models.packing import Fit
from models.plan import plan
from tests.models.plant import START, fitted, recording, request, values


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def pca() -> Fit:
    return fitted([recording(values(400))], request("pca", window=8))


def entry(
    done: Fit,
    *,
    loss: float = 1.0,
    steps: tuple[float | None, ...] = (1.0, 1.0, 1.0),
    refused: str | None = None,
    vus_pr: float | None = None,
    interval: tuple[float, float] | None = None,
    audited: bool = True,
) -> Entry:
    """A family of which these things are known."""
    manifest = done.manifest
    assert manifest.audit is not None
    sensors = [
        one.model_copy(update={"in_spreads": size})
        for one, size in zip(manifest.audit.sensors, steps, strict=True)
    ]
    audit = manifest.audit.model_copy(update={"refused": refused, "sensors": sensors})
    training = manifest.training.model_copy(update={"validation_loss": loss})
    known = {"audit": audit if audited else None, "training": training}
    found = Entry(replace(done, manifest=manifest.model_copy(update=known)), 1.0, 1.0)
    if vus_pr is None:
        return found
    average = Average({"vus_pr": vus_pr}, {"vus_pr": interval}, {"vus_pr": 1})
    judged = Summary([{"vus_pr": vus_pr}], average, {"vus_pr": vus_pr})
    return replace(found, judged=judged, gain=average)


def test_where_there_are_labels_they_decide(pca: Fit) -> None:
    own = entry(pca, vus_pr=0.5, loss=0.1)
    better = entry(pca, vus_pr=0.6, loss=0.9, steps=(9, 9, 9))

    assert best_of({"pca": own, "lstm": better}) == (
        "lstm",
        (
            "lstm finds the labelled events better than pca (0.6 against 0.5 vus_pr; too "
            "few recordings to prove it): take lstm"
        ),
    )
    assert best_of({"pca": better, "lstm": own}) == (
        "pca",
        "no network finds the labelled events better than pca (0.6 vus_pr): take pca",
    )
    assert best_of({"pca": own, "lstm": own})[0] == "pca"


def test_a_gain_that_the_files_do_not_prove_is_none(pca: Fit) -> None:
    own = entry(pca, vus_pr=0.5)

    chosen, why = best_of({"pca": own, "lstm": entry(pca, vus_pr=0.6, interval=(-0.01, 0.3))})

    assert chosen == "pca"
    assert why.endswith("the difference lies in [-0.01, 0.3]: no proof, so take pca")
    proven = entry(pca, vus_pr=0.6, interval=(0.01, 0.3))
    assert best_of({"pca": own, "lstm": proven})[0] == "lstm"
    higher = entry(pca, vus_pr=0.7, interval=(-0.01, 0.4))
    assert best_of({"pca": own, "lstm": proven, "usad": higher})[0] == "lstm"


def test_a_hair_is_no_gain_where_no_files_prove_it(pca: Fit) -> None:
    own = entry(pca, vus_pr=0.5)

    assert best_of({"pca": own, "lstm": entry(pca, vus_pr=0.51)})[0] == "pca"
    slight = entry(pca, vus_pr=0.51, interval=(0.005, 0.015))
    assert best_of({"pca": own, "lstm": slight})[0] == "lstm"


def test_without_labels_the_smaller_step_decides_if_it_is_clearly_smaller(pca: Fit) -> None:
    own = entry(pca, steps=(0.4, 0.5, 0.6), loss=0.1)

    def against(*steps: float | None) -> tuple[str | None, str]:
        return best_of({"pca": own, "stacked": entry(pca, steps=steps, loss=0.9)})

    chosen, why = against(0.4, 0.44, 9)
    assert chosen == "stacked"
    assert why.startswith("stacked finds smaller steps than pca (0.44 against 0.5 spreads in the ")
    assert against(0.3, 0.46, 0.5)[0] == "pca"
    assert against(0.3, None, None)[0] == "pca"
    blind = {"pca": entry(pca, steps=(None, None, 0.1)), "stacked": own}
    assert best_of(blind)[0] == "stacked"
    assert best_of({**blind, "stacked": blind["pca"]})[0] == "pca"


def test_without_labels_or_audit_the_error_on_unseen_windows_decides(pca: Fit) -> None:
    own, other = (entry(pca, loss=loss, audited=False) for loss in (0.2, 0.1))

    assert best_of({"pca": own, "lstm": other}) == (
        "lstm",
        "lstm rebuilds unseen normal windows better than pca (0.1 against 0.2 loss): take lstm",
    )
    assert best_of({"pca": other, "lstm": own})[0] == "pca"


def test_what_the_audit_refuses_is_never_taken(pca: Fit) -> None:
    best = entry(pca, vus_pr=0.9, refused="it copies")
    middle, worst = (entry(pca, vus_pr=value) for value in (0.6, 0.5))

    assert best_of({"pca": worst, "lstm": best, "stacked": middle})[0] == "stacked"
    assert best_of({"pca": worst, "lstm": best})[0] == "pca"
    assert best_of({"pca": best, "lstm": worst, "stacked": middle}) == (
        "stacked",
        "the audit refuses pca; of the others take stacked",
    )
    assert best_of({"pca": best, "lstm": best}) == (
        None,
        "the audit refuses every one of them: take none",
    )


def test_each_family_is_fitted_as_fit_does_it_on_the_same_windows() -> None:
    label = np.zeros(400, np.uint8)
    label[350:370] = 1
    numbers = values(400)
    numbers[350:370, 1] -= 8
    data = [recording(numbers, label=label)]
    requests = [request(model, window=8, epochs=2) for model in ("pca", "stacked")]
    stages: list[str] = []

    found = compare(
        data,
        requests,
        plan(data, requests[0]),
        data,
        START,
        count().__next__,
        lambda stage, done, most: stages.append(stage),
    )

    for asked in requests:
        alone, entry = fitted(data, asked), found[asked.model]
        assert entry.done.files == alone.files
        assert entry.done.manifest.model_copy(update={"name": "plant"}) == alone.manifest
        assert entry.judged is not None
        assert entry.judged.pooled["event_recall"] == 1
        assert entry.judged.pooled["rows_seen_in_training"] == 400
        assert entry.bytes == sum(map(len, alone.files.values()))
    assert found["pca"].gain is not None
    assert found["pca"].gain.mean["vus_pr"] == 0
    assert (
        found["stacked"].done.manifest.training.windows
        == found["pca"].done.manifest.training.windows
    )
    assert {stage.partition(":")[0] for stage in stages} == {"pca", "stacked"}
    assert {"stacked: fold 4 of 4", "pca: audit", "stacked: scoring"} <= set(stages)


def test_scoring_is_timed_by_the_fastest_batch_of_the_same_windows(pca: Fit) -> None:
    from models.compare import detector_of

    ticks = iter([0.0, 9.0, 10.0, 10.64, 20.0, 29.0, 30.0, 39.0, 40.0, 49.0])

    taken = microseconds(detector_of(pca), values(80).reshape(10, 8, 3), lambda: next(ticks))

    assert taken == pytest.approx(1e4)
