import logging

import torch
from sklearn.datasets import load_wine
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler
from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)
HYPER = {"members": 3, "lr": 0.01, "epochs": 20}


def make_member(width):
    return nn.Sequential(nn.Linear(13, width), nn.ReLU(), nn.Linear(width, 3))


def make_data():
    table = load_wine()
    x, y = torch.tensor(table.data).float(), torch.tensor(table.target)
    return TensorDataset((x - x.mean(0)) / x.std(0), y)


def write_row(writer, step, values):
    for name, value in values.items():
        writer.add_scalar(name, value, step)


def main():
    wine = make_data()
    weights = torch.ones(len(wine))
    sampler = WeightedRandomSampler(weights, len(wine))
    loaders = {"fit": DataLoader(wine, 16, sampler=sampler), "all": DataLoader(wine, 178)}
    members = [make_member(16 * (i + 1)) for i in range(HYPER["members"])]
    optimizers = [torch.optim.Adam(m.parameters(), lr=HYPER["lr"]) for m in members]
    rule = nn.CrossEntropyLoss()
    writer = SummaryWriter()
    for epoch in range(HYPER["epochs"]):
        for x, y in loaders["fit"]:
            for member, optimizer in zip(members, optimizers):
                loss = rule(member(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        write_row(writer, epoch, {"loss": loss.item()})
        log.info("epoch %d", epoch)


if __name__ == "__main__":
    main()
