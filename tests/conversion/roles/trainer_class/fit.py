import os

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Sentences(Dataset):
    def __init__(self, path):
        self.lines = open(path).read().splitlines()

    def __len__(self):
        return len(self.lines)

    def __getitem__(self, index):
        return torch.tensor([ord(c) % 64 for c in self.lines[index][:16].ljust(16)])


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(64, 32)
        self.rnn = nn.GRU(32, 64, batch_first=True)
        self.out = nn.Linear(64, 64)

    def forward(self, x):
        return self.out(self.rnn(self.table(x))[0])


class Coach:
    def __init__(self, network, data, lr=1e-3):
        self.network = network
        self.batches = DataLoader(data, batch_size=8, shuffle=True)
        self.optim = torch.optim.Adam(network.parameters(), lr=lr)
        self.criterion = nn.CrossEntropyLoss()
        self.scaler = torch.cuda.amp.GradScaler()
        self.device = torch.device("cpu")
        self.best = float("inf")

    def one_epoch(self):
        total = 0.0
        for batch in self.batches:
            guess = self.network(batch[:, :-1])
            cost = self.criterion(guess.transpose(1, 2), batch[:, 1:])
            self.optim.zero_grad()
            self.scaler.scale(cost).backward()
            self.scaler.step(self.optim)
            self.scaler.update()
            total += cost.item()
        return total / len(self.batches)

    @torch.no_grad()
    def judge(self):
        self.network.eval()
        return sum(self.criterion(self.network(b[:, :-1]).transpose(1, 2), b[:, 1:]) for b in self.batches)

    def keep(self, path):
        torch.save({"net": self.network.state_dict(), "opt": self.optim.state_dict()}, path)

    def fit(self, epochs):
        for epoch in range(epochs):
            mean = self.one_epoch()
            if mean < self.best:
                self.best = mean
                self.keep("best.pt")
            print(epoch, mean, self.judge())


def fix_seed(number):
    torch.manual_seed(number)


if __name__ == "__main__":
    fix_seed(1)
    coach = Coach(Reader(), Sentences(os.environ.get("TEXT", "text.txt")))
    coach.fit(3)
