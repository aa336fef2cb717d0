import os

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler


def setup(rank, size):
    os.environ["MASTER_ADDR"] = "localhost"
    os.environ["MASTER_PORT"] = "29500"
    dist.init_process_group("gloo", rank=rank, world_size=size)


class Worker:
    def __init__(self, model, loader, optimizer, rank):
        self.rank = rank
        self.model = DDP(model.to(rank))
        self.loader = loader
        self.optimizer = optimizer

    def _step(self, x, y):
        self.optimizer.zero_grad()
        loss = nn.functional.mse_loss(self.model(x), y)
        loss.backward()
        self.optimizer.step()

    def train(self, epochs):
        for epoch in range(epochs):
            self.loader.sampler.set_epoch(epoch)
            for x, y in self.loader:
                self._step(x.to(self.rank), y.to(self.rank))
            if self.rank == 0:
                torch.save(self.model.module.state_dict(), "model.pt")


def run(rank, size):
    setup(rank, size)
    rows = TensorDataset(torch.randn(64, 5), torch.randn(64, 1))
    order = DistributedSampler(rows)
    loader = DataLoader(rows, batch_size=8, sampler=order)
    model = nn.Linear(5, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    Worker(model, loader, optimizer, rank).train(3)
    dist.destroy_process_group()


if __name__ == "__main__":
    mp.spawn(run, args=(2,), nprocs=2)
