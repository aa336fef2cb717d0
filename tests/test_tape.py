"""The tape has what a program computes, to the last bit, and the program does not notice it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bessemer.proof.comparison import judge_original
from bessemer.proof.copies import Ground
from bessemer.proof.original import Original, Taped, run_original
from bessemer.proof.tape import configure, environment_of
from bessemer.proof.tapes import Loss, Step, Tape

HEAD = """
import os, random, sys
import numpy as np
import torch
from torch import nn
model = nn.Linear(3, 1)
x, y = torch.randn(8, 3), torch.randn(8, 1)
def loss_of():
    return nn.functional.mse_loss(model(x), y)
"""
SGD = """
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
def step():
    optimizer.zero_grad()
    loss = loss_of()
    loss.backward()
    optimizer.step()
    return loss
"""


def taped(tmp_path: Path, program: str, *, steps: int = 0, seed: int = 0, name: str = "a") -> Taped:
    folder = tmp_path / "research"
    folder.mkdir(exist_ok=True)
    (folder / "program.py").write_text(program)
    original = Original(folder / "program.py", Ground(folder), ())
    log_file = tmp_path / f"{name}.log"
    return run_original(original, tmp_path / "work", name, log_file, seed=seed, steps=steps, limit_s=100)


def only(run: Taped) -> Tape:
    assert run.ended.status == 0, str(run.ended)
    (tape,) = run.tapes
    return tape


def kinds(tape: Tape) -> str:
    return "".join("l" if isinstance(event, Loss) else "s" for event in tape.events)


def test_losses_and_parameters_are_taped_and_the_program_computes_as_without(tmp_path: Path) -> None:
    seeds = "random.seed(3); np.random.seed(3); torch.manual_seed(3); torch.set_num_threads(1)\n"
    head = HEAD.replace("model =", f"{seeds}model =")
    program = head + SGD + "for _ in range(3): print(float(step()).hex())\n"
    run = taped(tmp_path, program)
    tape = only(run)
    assert kinds(tape) == "lslsls"
    plain = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    values = [event.value.hex() for event in tape.events if isinstance(event, Loss)]
    assert values == plain.stdout.split()
    steps = [event for event in tape.events if isinstance(event, Step)]
    assert len({step.digest for step in steps}) == 3
    assert {step.optimizer for step in steps} == {"SGD"}


def test_generators_are_seeded_so_two_runs_are_one(tmp_path: Path) -> None:
    program = HEAD + SGD + "x = x * random.random() + np.random.rand()\nstep()\n"
    runs = [taped(tmp_path, program, name=name) for name in "ab"]
    assert judge_original(runs[0].tapes, runs[1].tapes) is None
    other = taped(tmp_path, program, name="c", seed=1)
    assert only(other) != only(runs[0])


def test_a_program_that_seeds_itself_from_the_system_is_nondeterministic(tmp_path: Path) -> None:
    program = HEAD.replace("model =", "torch.manual_seed(int.from_bytes(os.urandom(4), 'big'))\nmodel =")
    runs = [taped(tmp_path, program + SGD + "step()\n", name=name) for name in "ab"]
    found = judge_original(runs[0].tapes, runs[1].tapes)
    assert found is not None
    assert found.verdict == "nondeterministic"
    assert found.first_difference is not None
    assert (found.first_difference.step, found.first_difference.name) == (1, "loss")


def test_updates_by_hand_are_seen_in_the_parameters_that_each_loss_depends_on(tmp_path: Path) -> None:
    program = (
        HEAD
        + """
for _ in range(3):
    model.zero_grad()
    loss_of().backward()
    for p in model.parameters():
        p.data.add_(p.grad, alpha=-0.1)
"""
    )
    tape = only(taped(tmp_path, program))
    assert kinds(tape) == "lll"
    assert len({event.leaves for event in tape.events if isinstance(event, Loss)}) == 3
    assert tape.num_steps == 3


@pytest.mark.parametrize("steps", [1, 2])
def test_steps_of_a_program_without_an_optimizer_are_losses(tmp_path: Path, steps: int) -> None:
    program = HEAD + "for _ in range(5): loss_of().backward()\n"
    tape = only(taped(tmp_path, program, steps=steps))
    assert (kinds(tape), tape.is_cut) == ("l" * steps, True)


def test_a_closure_has_all_its_losses_before_its_step(tmp_path: Path) -> None:
    program = (
        HEAD
        + """
optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)
def closure():
    optimizer.zero_grad()
    loss = loss_of()
    loss.backward()
    return loss
for _ in range(4): optimizer.step(closure)
"""
    )
    tape = only(taped(tmp_path, program, steps=2))
    assert kinds(tape).count("s") == 2
    assert kinds(tape).startswith("ll")
    assert kinds(tape).endswith("s")
    assert tape.is_cut


def test_accumulated_gradients_do_not_end_a_program_early(tmp_path: Path) -> None:
    program = (
        HEAD + SGD + "for _ in range(3):\n    for _ in range(4): loss_of().backward()\n    optimizer.step()\n"
    )
    assert kinds(only(taped(tmp_path, program, steps=2))) == "lllls" * 2


def test_a_program_that_catches_its_end_is_ended_all_the_same(tmp_path: Path) -> None:
    program = HEAD + SGD + "while True:\n    try: step()\n    except BaseException: pass\n"
    run = taped(tmp_path, program, steps=2)
    assert (kinds(only(run)), run.is_cut) == ("lsls", True)


def test_a_program_that_ends_in_the_middle_leaves_what_it_had_computed(tmp_path: Path) -> None:
    run = taped(tmp_path, HEAD + SGD + "step()\nprint('no more data')\nos._exit(3)\n")
    assert run.ended.status == 3
    assert "no more data" in str(run.ended)
    assert [kinds(tape) for tape in run.tapes] == ["ls"]


def test_several_losses_of_one_call_are_all_taped_and_nested_ones_are_not(tmp_path: Path) -> None:
    program = (
        HEAD
        + """
from torch.utils.checkpoint import checkpoint
torch.autograd.backward([loss_of(), loss_of()])
checkpoint(lambda x: model(x).square().mean(), x.requires_grad_(), use_reentrant=True).backward()
torch.autograd.grad(loss_of(), model.parameters())
"""
    )
    assert kinds(only(taped(tmp_path, program))) == "lll"


def test_processes_that_do_not_train_leave_no_tape(tmp_path: Path) -> None:
    program = (
        HEAD
        + SGD
        + """
from torch.utils.data import DataLoader
def main():
    for _ in DataLoader(list(range(4)), num_workers=1): pass
    step()
main()
"""
    )
    assert kinds(only(taped(tmp_path, program))) == "ls"


def test_two_processes_that_train_are_not_comparable(tmp_path: Path) -> None:
    program = HEAD + SGD + "step()\nif os.fork() == 0:\n    step()\n    os._exit(0)\nos.wait()\n"
    run = taped(tmp_path, program)
    assert len(run.tapes) == 2
    found = judge_original(run.tapes, run.tapes)
    assert found is not None
    assert found.verdict == "not-comparable"
    assert "2 processes" in found.reason


def test_a_process_without_torch_imports_nothing_more_and_writes_nothing(tmp_path: Path) -> None:
    def modules(environment: dict[str, str]) -> set[str]:
        command = [sys.executable, "-c", "import sys; print(*sys.modules)"]
        return set(subprocess.check_output(command, env=environment, text=True).split())

    configure(tmp_path / "tapes")
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    more = modules(environment_of(tmp_path / "tapes", plain, 0)) - modules(plain)
    assert more - {"sitecustomize", "importlib", "importlib._bootstrap", "warnings"} <= {
        "importlib.machinery",
        "importlib._bootstrap_external",
    }
    assert [path.name for path in (tmp_path / "tapes").iterdir()] == ["tape.json"]


def test_a_sitecustomize_of_somebody_else_runs_too(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "sitecustomize.py").write_text("print('recorded outside')\n")
    configure(tmp_path / "tapes")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "outside")}
    command = [sys.executable, "-c", "print('program')"]
    text = subprocess.check_output(command, env=environment_of(tmp_path / "tapes", environment, 0), text=True)
    assert text.split("\n") == ["recorded outside", "program", ""]


EVEN = """
import torch
from torch import nn
model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
rnn = nn.LSTM(3, 3, num_layers=2, dropout=0.5)
x = torch.randn(8, 3)
print(torch.equal(model(x), model.eval()(x)))
print(torch.equal(nn.functional.dropout(x, 0.9), x))
print(torch.equal(rnn(x)[0], rnn(x)[0]))
q = torch.randn(1, 2, 4, 8)
attention = nn.functional.scaled_dot_product_attention
print(torch.equal(attention(q, q, q, dropout_p=0.5), attention(q, q, q)))
"""


def test_an_even_process_has_no_dropout_and_no_statistics_of_a_batch(tmp_path: Path) -> None:
    configure(tmp_path / "tapes", is_even=True)
    environment = environment_of(tmp_path / "tapes", dict(os.environ), 0)
    text = subprocess.check_output([sys.executable, "-c", EVEN], env=environment, text=True)
    assert text.split() == ["True"] * 4
