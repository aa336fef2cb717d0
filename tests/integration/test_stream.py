"""Data of any size reach a worker through Ray Data, in order, in bounded memory."""

from __future__ import annotations

import json

import pytest

from integration.workplaces import OBJECT_STORE_BYTES, Workplace

pytestmark = pytest.mark.timeout(400)

NUM_ROWS, ROW_BYTES, EPOCHS = 4000, 100_000, 3

PROGRAM = f"""
import json, resource, sys, time
import numpy as np
import torch
from torch import nn
from bessemer import Settings, fit

class Rows(torch.utils.data.Dataset):
    def __init__(self):
        self.rows = np.memmap("rows.bin", np.uint8, mode="r", shape=({NUM_ROWS}, {ROW_BYTES}))
    def __len__(self):
        return len(self.rows)
    def __getitem__(self, index):
        time.sleep(0.002)
        row = torch.from_numpy(np.array(self.rows[index]))
        assert row.float().mean() == index % 251, "the file was read wrong"
        return index, row

def train(run, settings):
    model = run.place(nn.Linear(1, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    run.track(model=model, optimizer=optimizer)
    loader = run.loader(Rows(), batch_size=16, shuffle=True)
    seen, streamed, sizes = [], 0, 0
    for epoch in run.epochs({EPOCHS}):
        for ids, rows in loader:
            assert (rows[:, -1].long() == ids % 251).all()
            seen += ids.tolist()
            streamed += loader._feed.streams
            sizes += rows.numel()
            model(ids.float()[:, None]).mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with open("seen.json", "w") as file:
        json.dump({{"seen": seen, "streamed": streamed, "bytes": sizes, "peak": peak}}, file)

if __name__ == "__main__":
    import os
    from ray._private.internal_api import memory_summary
    settings = Settings(tracking={{"log_model": False}}, scaling={{"max_failures": 0}})
    outcome = fit(train, settings, project="larger")
    print(memory_summary(stats_only=True))
"""


def test_a_data_set_larger_than_the_object_store_streams(workplace: Workplace) -> None:
    folder = workplace.folder / "larger"
    folder.mkdir()
    with open(folder / "rows.bin", "wb") as rows:
        for index in range(NUM_ROWS):
            rows.write(bytes([index % 251]) * ROW_BYTES)
    text = PROGRAM
    for name in ("seen.json", "rows.bin"):
        text = text.replace(f'"{name}"', repr(str(folder / name)))
    (folder / "train.py").write_text(text)
    status, printed = workplace.run_script(folder / "train.py", timeout_s=380)
    assert status == 0, printed
    found = json.loads((folder / "seen.json").read_text())
    for epoch in range(EPOCHS):
        ids = found["seen"][NUM_ROWS * epoch : NUM_ROWS * (epoch + 1)]
        assert sorted(ids) == list(range(NUM_ROWS))
    num_steps = EPOCHS * NUM_ROWS // 16
    assert found["streamed"] > num_steps // 2
    assert found["bytes"] > 2 * OBJECT_STORE_BYTES
    assert found["peak"] < 2 * 2**30
    # What the store has no room for is kept out of it, not written to disk.
    assert "Spilled" not in printed, printed


FETCHING = """
import os, sys, time
import ray
from bessemer.config.settings import Cluster
from bessemer.training.cluster import connect

class Worker:
    pass

connect(Cluster(address=sys.argv[1]))
# All CPUs are the workers', as in most trainings.
num_cpus = int(ray.cluster_resources()["CPU"])
workers = [ray.remote(Worker).options(num_cpus=1).remote() for _ in range(num_cpus)]
ray.get([worker.__ray_ready__.remote() for worker in workers])
fetch = ray.remote(lambda: os.getpid()).options(num_cpus=0)
before = ray.get(fetch.remote())
time.sleep(4)
assert ray.get(fetch.remote()) == before, "another process"
"""


@pytest.mark.parametrize("where", ["a head", "a cluster of its own"])
def test_the_process_that_fetched_a_block_is_there_for_the_next_one_seconds_later(
    workplace: Workplace, where: str
) -> None:
    script = workplace.folder / "fetching.py"
    script.write_text(FETCHING)
    address = workplace.environment["RAY_ADDRESS"] if where == "a head" else "local"
    done = workplace.run_script(script, address)
    assert done[0] == 0, done[1]
