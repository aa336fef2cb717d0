"""LBFGS: the optimizer calls the loss itself."""

import torch
from torch import nn


def main():
    x = torch.linspace(0, 1, 50).unsqueeze(1)
    model = nn.Sequential(nn.Linear(1, 10), nn.Tanh(), nn.Linear(10, 1))
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5)
    for i in range(5):

        def closure():
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), x.sin())
            loss.backward()
            return loss

        loss = optimizer.step(closure)
        print("iteration", i, "loss", loss.item())


if __name__ == "__main__":
    main()
