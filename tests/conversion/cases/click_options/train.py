"""Sorts points by the side of a line that they lie on; its options are those of click."""
import click
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def points(count):
    x = torch.randn(count, 2)
    return TensorDataset(x, (x.sum(dim=1) > 0).float())


@click.command()
@click.option("--lr", default=0.1, show_default=True, help="How fast it learns.")
@click.option("--batch-size", "-b", type=int, default=8, help="Points of a batch.")
@click.option("--rounds", type=click.IntRange(1, 100), default=2, help="Passes over the points.")
@click.option("--shuffle/--no-shuffle", default=True, help="Mix the points.")
@click.option("--wide", is_flag=True, help="Use a hidden layer.")
@click.option("--act", type=click.Choice(["tanh", "relu"]), default="tanh", help="What is between the layers.")
@click.option("--note", default=None, help="Printed at the end.")
def main(lr, batch_size, rounds, shuffle, wide, act, note):
    """Trains."""
    torch.manual_seed(0)
    device = torch.device("cpu")
    between = {"tanh": nn.Tanh(), "relu": nn.ReLU()}[act]
    model = nn.Sequential(nn.Linear(2, 4), between, nn.Linear(4, 1)) if wide else nn.Linear(2, 1)
    model = model.to(device)
    loader = DataLoader(points(40), batch_size=batch_size, shuffle=shuffle)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for epoch in range(rounds):
        total = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(model(x.to(device)).squeeze(1), y.to(device))
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch} loss {total / len(loader):.5f}")
    lr = lr / 2
    print(note, lr)


if __name__ == "__main__":
    main()
