"""Names of metrics, from the words around printed values."""

from __future__ import annotations

import re

import libcst as cst
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.conversion.metrics import label_words, metric_name, phase_in, printed_fields, words_of
from bessemer.conversion.program import understand
from bessemer.conversion.syntax import walk

PRINTS = {
    '"Loss: {:.4f}".format(loss)': [("Loss: ", "loss", "")],
    '"{} and {name}: {0}".format(a, name=b)': [("", "a", " and "), (" and ", "b", ": "), (": ", "a", "")],
    '"%d of %5.2f%%" % (a, b)': [("", "a", " of "), (" of ", "b", "% ")],
    '"loss %s" % loss': [("loss ", "loss", "")],
    'f"a {a:.3f} b {b!r} {{x}}"': [("a ", "a", " b "), (" b ", "b", " {x}")],
    'f"a {a}" f" b {b}"': [("a ", "a", " b "), (" b ", "b", "")],
    '"epoch", epoch, "loss:", loss.item()': [
        ("epoch ", "epoch", " loss: "),
        (" loss: ", "loss.item()", " "),
    ],
    '"loss " + str(loss)': [("loss ", "loss", "")],
    '"nothing"': [],
    '"%(a)s" % values': [],
}


@pytest.mark.parametrize("arguments", PRINTS)
def test_printed_values_are_found_with_the_text_around_them(arguments: str) -> None:
    program = understand(cst.parse_module(f"print({arguments})\n"), "train.py")
    call = next(walk(program.module, cst.Call))
    fields = printed_fields(program, call)
    found = [(field.before, program.code(field.value), field.after.rstrip()) for field in fields]
    assert found == [(before, value, after.rstrip()) for before, value, after in PRINTS[arguments]]


@pytest.mark.parametrize(
    ("text", "phase", "name"),
    [
        ("\nTest set: Average loss: ", "test", "test/loss"),
        (")]\tLoss: ", "train", "train/loss"),
        ("====> Test set loss: ", "test", "test/loss"),
        ("===> Avg. PSNR: ", "eval", "eval/psnr"),
        ("validation accuracy ", "val", "val/accuracy"),
        (" Loss_D: ", "train", "train/loss_d"),
        (" D(G(z)): ", "train", "train/d_g_z"),
        ("s) loss_train: ", "train", "train/loss"),
        ("step 3, lr=", "train", "train/lr"),
        ("| top-5 acc ", "val", "val/top_5_acc"),
    ],
)
def test_a_metric_is_named_after_the_words_in_front_of_it(text: str, phase: str, name: str) -> None:
    assert metric_name(label_words(text), phase) == name


@given(st.text(), st.sampled_from(["train", "val", "test", "eval"]), st.text())
def test_every_text_gives_a_valid_name(text: str, phase: str, fallback: str) -> None:
    name = metric_name(label_words(text), phase, fallback)
    assert re.fullmatch(r"(train|val|test|eval)/[^\W_]\w*", name)


@pytest.mark.parametrize(
    ("text", "phase"),
    [("testEpoch", "test"), ("validate_model", None), ("run_validation", "val"), ("Dev loss", "dev")],
)
def test_a_phase_is_a_word_of_its_own(text: str, phase: str | None) -> None:
    assert phase_in(words_of(text)) == phase
