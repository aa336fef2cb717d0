"""A loss that is shown as the mean of the last few batches."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def main():
    x = torch.randn(128, 5)
    loader = DataLoader(TensorDataset(x, x.mean(1, keepdim=True)), batch_size=4, shuffle=True)
    net = nn.Linear(5, 1)
    criterion = nn.L1Loss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    for epoch in range(2):
        running_loss = 0.0
        for i, data in enumerate(loader, 0):
            inputs, labels = data
            optimizer.zero_grad()
            loss = criterion(net(inputs), labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
            if i % 10 == 9:
                print("[%d, %5d] loss: %.3f" % (epoch + 1, i + 1, running_loss / 10))
                running_loss = 0.0


if __name__ == "__main__":
    main()
