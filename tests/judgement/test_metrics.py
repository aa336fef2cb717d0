"""Metrics are those of scikit-learn and torchmetrics, and a weighting of samples is a repetition of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sk
from torchmetrics.functional.classification import (
    multiclass_auroc,
    multiclass_calibration_error,
    multiclass_f1_score,
    multiclass_jaccard_index,
)
from torchmetrics.functional.regression import spearman_corrcoef
from torchmetrics.functional.text import perplexity

from bessemer.judgement.metrics import classification, counts, regression
from bessemer.judgement.metrics.measure import Measure
from bessemer.judgement.metrics.ranks import area_under_roc, spearman
from bessemer.judgement.outputs import read

NUM_BINS = 10


def scores_and_target(seed: int, num: int, num_classes: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    generator = np.random.default_rng(seed)
    target = generator.integers(num_classes, size=num)
    scores = generator.normal(size=(num, num_classes))
    scores[np.arange(num), target] += 1.0
    return scores, target


def values_of(measure: Measure, num: int) -> dict[str, float]:
    return measure.point(num)


@pytest.mark.filterwarnings("ignore")  # of scikit-learn, about classes without samples
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 80), st.integers(2, 9))
def test_a_classification_is_measured_as_scikit_learn_does(seed: int, num: int, num_classes: int) -> None:
    scores, target = scores_and_target(seed, num, num_classes)
    found = values_of(classification.measure(scores, target, (), NUM_BINS), num)
    predicted = scores.argmax(1)
    probability = classification.probabilities_of(scores)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(target, predicted), rel=1e-12)
    assert found["balanced_accuracy"] == pytest.approx(
        sk.balanced_accuracy_score(target, predicted), rel=1e-12
    )
    for average in ("macro", "weighted"):
        expected = sk.f1_score(target, predicted, average=average, zero_division=0)
        assert found[f"f1_{average}"] == pytest.approx(expected, rel=1e-12)
    labels = list(range(num_classes))
    assert found["log_loss"] == pytest.approx(sk.log_loss(target, probability, labels=labels), rel=1e-9)
    if num_classes > 5:
        top = sk.top_k_accuracy_score(target, probability, k=5, labels=labels)
        assert found["top5_accuracy"] == pytest.approx(top, rel=1e-12)
    if len(np.unique(target)) == num_classes:
        given_scores = probability[:, 1] if num_classes == 2 else probability
        area = sk.roc_auc_score(target, given_scores, multi_class="ovr", labels=labels)
        assert found["roc_auc"] == pytest.approx(area, rel=1e-12)


def test_a_classification_is_measured_as_torchmetrics_does() -> None:
    scores, target = scores_and_target(0, 500, 7)
    found = values_of(classification.measure(scores, target, (), NUM_BINS), 500)
    probability = torch.from_numpy(classification.probabilities_of(scores))
    truth = torch.from_numpy(target)
    error = multiclass_calibration_error(probability, truth, num_classes=7, n_bins=NUM_BINS, norm="l1")
    assert found["calibration_error"] == pytest.approx(float(error), abs=1e-6)
    area = multiclass_auroc(probability, truth, num_classes=7)
    assert found["roc_auc"] == pytest.approx(float(area), abs=1e-6)
    f1 = multiclass_f1_score(probability, truth, num_classes=7, average="macro")
    assert found["f1_macro"] == pytest.approx(float(f1), abs=1e-6)


def test_each_class_has_its_precision_recall_and_support() -> None:
    scores, target = scores_and_target(3, 200, 4)
    measured = classification.measure(scores, target, ("ant", "bee", "cat", "dog"), NUM_BINS)
    expected = sk.precision_recall_fscore_support(target, scores.argmax(1))
    for c, line in enumerate(measured.classes):
        assert line["class"] == ("ant", "bee", "cat", "dog")[c]
        values = [line["precision"], line["recall"], line["f1"], line["support"]]
        assert values == pytest.approx([part[c] for part in expected], rel=1e-12)


def test_logits_log_probabilities_and_probabilities_measure_the_same() -> None:
    logits, target = scores_and_target(1, 100, 5)
    logged = torch.from_numpy(logits).log_softmax(1).numpy()
    found = [
        values_of(classification.measure(scores, target, (), NUM_BINS), 100)
        for scores in (logits, logged, np.exp(logged))
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-9)
    assert found[0] == pytest.approx(found[2], rel=1e-9)


def test_one_number_for_two_classes_is_a_logit_or_a_probability() -> None:
    logit = np.array([-2.0, 0.5, 3.0])
    probability = 1 / (1 + np.exp(-logit))
    for number in (logit, probability):
        found = classification.probabilities_of(classification.two_classes(number))
        assert found[:, 1] == pytest.approx(probability, rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 60), st.integers(1, 3))
def test_a_regression_is_measured_as_scikit_learn_does(seed: int, num: int, num_outputs: int) -> None:
    generator = np.random.default_rng(seed)
    target = generator.normal(size=(num, num_outputs)) * 3 + 100
    prediction = target + generator.normal(size=target.shape)
    found = values_of(regression.measure(prediction, target), num)
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(target, prediction), rel=1e-9)
    assert found["rmse"] == pytest.approx(np.sqrt(sk.mean_squared_error(target, prediction)), rel=1e-9)
    assert found["r2"] == pytest.approx(sk.r2_score(target, prediction), rel=1e-7, abs=1e-9)
    rank = spearman_corrcoef(torch.from_numpy(prediction), torch.from_numpy(target)).mean()
    assert found["spearman"] == pytest.approx(float(rank), abs=1e-4)  # torchmetrics adds 1e-6 to spreads


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(4, 40))
def test_weights_of_samples_are_repetitions_of_them(seed: int, num: int) -> None:
    generator = np.random.default_rng(seed)
    weights = generator.integers(0, 4, size=num)
    weights[:2] = 1
    rows = np.repeat(np.arange(num), weights)
    scores, target = scores_and_target(seed, num, 3)
    _agree(
        classification.measure(scores, target, (), NUM_BINS),
        classification.measure(scores[rows], target[rows], (), NUM_BINS),
        weights,
        len(rows),
    )
    numbers = generator.normal(size=(num, 2))
    predicted = (numbers + generator.normal(size=numbers.shape)).round(1)
    _agree(
        regression.measure(predicted, numbers),
        regression.measure(predicted[rows], numbers[rows]),
        weights,
        len(rows),
    )


def _agree(weighted: Measure, repeated: Measure, weights: NDArray[Any], num: int) -> None:
    sums = weighted.sums.by_block(np.arange(len(weights)), len(weights))
    row = weights[None, :].astype(np.float64)
    found = weighted.of_sums({name: row @ value for name, value in sums.items()})
    assert weighted.of_weights is not None
    found |= weighted.of_weights(row)
    expected = repeated.point(num)
    for name, value in found.items():
        assert float(value[0]) == pytest.approx(expected[name], rel=1e-6, abs=1e-9, nan_ok=True), name


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=30))
def test_the_area_under_the_curve_counts_ties_half(rows: list[tuple[int, bool]]) -> None:
    score = np.array([value for value, _ in rows], float)
    positive = np.array([flag for _, flag in rows])
    found = float(area_under_roc(score, positive, np.ones((1, len(rows))))[0])
    if positive.all() or not positive.any():
        assert np.isnan(found)
    else:
        assert found == pytest.approx(sk.roc_auc_score(positive, score), rel=1e-12)


def test_ties_share_their_mean_rank() -> None:
    first = np.array([1.0, 1.0, 1.0, 2.0, 3.0, 3.0])
    second = np.array([2.0, 1.0, 3.0, 3.0, 3.0, 4.0])
    expected = spearman_corrcoef(torch.from_numpy(first), torch.from_numpy(second))
    assert spearman(first, second, np.ones((1, 6)))[0] == pytest.approx(float(expected), abs=1e-5)


def test_a_constant_has_no_rank_correlation() -> None:
    values = np.arange(5.0)
    assert np.isnan(spearman(values, np.ones(5), np.ones((1, 5)))[0])


def test_a_segmentation_is_measured_over_all_pixels() -> None:
    generator = torch.Generator().manual_seed(0)
    output = torch.randn(6, 4, 5, 7, generator=generator)
    target = torch.randint(0, 4, (6, 5, 7), generator=generator)
    rows = read(output, [torch.zeros(6, 1, 5, 7), target], 6).rows()
    measured = counts.segmentation(
        rows["num_right"], rows["num_predicted"], rows["num_actual"], rows["nll_sum"], ()
    )
    found = values_of(measured, 6)
    expected = multiclass_jaccard_index(output.argmax(1), target, num_classes=4)
    assert found["mean_iou"] == pytest.approx(float(expected), abs=1e-6)
    assert found["pixel_accuracy"] == pytest.approx(float((output.argmax(1) == target).float().mean()))
    loss = torch.nn.functional.cross_entropy(output.double(), target)
    assert found["pixel_loss"] == pytest.approx(float(loss), rel=1e-12)
    dice = sk.f1_score(target.flatten(), output.argmax(1).flatten(), average="macro")
    assert found["dice"] == pytest.approx(dice, rel=1e-12)


def test_a_language_model_is_measured_by_token() -> None:
    generator = torch.Generator().manual_seed(0)
    output = torch.randn(3, 8, 11, generator=generator)
    target = torch.randint(0, 11, (3, 8), generator=generator)
    target[1, 5:] = -100
    rows = read(output, [torch.zeros(3, 8, dtype=torch.int64), target], 3).rows()
    found = values_of(counts.language(rows["num_tokens"], rows["num_right"], rows["nll_sum"]), 3)
    expected = perplexity(output.double(), target, ignore_index=-100)
    assert found["perplexity"] == pytest.approx(float(expected), rel=1e-6)
    assert found["bits_per_token"] == pytest.approx(np.log2(found["perplexity"]), rel=1e-12)
    counted = target != -100
    right = (output.argmax(2) == target)[counted].double().mean()
    assert found["token_accuracy"] == pytest.approx(float(right), rel=1e-12)
