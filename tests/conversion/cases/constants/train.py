"""Fits a curve; everything that one would choose is a constant at the top, or at the top of main."""
import math

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

# Hyperparameters
BATCH_SIZE = 16  # points of a batch
LEARNING_RATE = 5e-3
HIDDEN = 8
BETAS = (0.9, 0.95)
USE_BIAS = True
# where the weights go
SAVE_PATH = "curve.pt"
TURN = 2 * math.pi
NUM_STEPS = 64 // BATCH_SIZE
SCALE = 3.0
PAD_IDX = 0


class Curve(Dataset):
    def __init__(self, count):
        self.x = torch.linspace(0, 1, count)[:, None]
        self.y = SCALE * torch.sin(TURN * self.x)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index], self.y[index]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(1, HIDDEN, bias=USE_BIAS)
        self.outer = nn.Linear(HIDDEN, 1)

    def forward(self, x):
        return self.outer(torch.tanh(self.inner(x)))


def train(model, loader, optimizer, clip):
    total = 0.0
    for x, y in loader:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        total += loss.item() / NUM_STEPS
    return total


def main():
    torch.manual_seed(1)
    epochs = 3
    clip = 0.5  # bound of the gradients
    model = Net()
    loader = DataLoader(Curve(64), batch_size=BATCH_SIZE, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, betas=BETAS)
    for epoch in range(1, epochs + 1):
        loss = train(model, loader, optimizer, clip)
        print(f"epoch {epoch} train loss {loss:.5f}")
    torch.save(model.state_dict(), SAVE_PATH)


if __name__ == "__main__":
    main()
