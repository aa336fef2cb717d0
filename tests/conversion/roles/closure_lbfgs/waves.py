import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim


class Waves(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.LSTMCell(1, 20)
        self.out = nn.Linear(20, 1)

    def forward(self, series, future=0):
        h, c = torch.zeros(len(series), 20), torch.zeros(len(series), 20)
        found = []
        for part in series.split(1, dim=1):
            h, c = self.cell(part, (h, c))
            found.append(self.out(h))
        return torch.cat(found, 1)


def make_waves(rows, length):
    starts = np.random.randint(-80, 80, (rows, 1))
    return np.sin((np.arange(length) + starts) / 20).astype("float32")


def fit(turns):
    table = torch.from_numpy(make_waves(20, 100))
    given, wanted = table[:, :-1], table[:, 1:]
    seq = Waves()
    criterion = nn.MSELoss()
    optimizer = optim.LBFGS(seq.parameters(), lr=0.8)

    def closure():
        optimizer.zero_grad()
        loss = criterion(seq(given), wanted)
        loss.backward()
        return loss

    for turn in range(turns):
        optimizer.step(closure)
        with torch.no_grad():
            print(turn, criterion(seq(given), wanted).item())


if __name__ == "__main__":
    fit(8)
