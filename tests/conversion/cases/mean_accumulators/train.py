"""Means of means: a loss object, an accuracy function, validation and test."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


def accuracy(scores, labels):
    return (scores.argmax(dim=1) == labels).float().mean().item()


def train_epoch(net, loader, criterion, optimizer):
    net.train()
    running = 0.0
    seen = 0
    num_batches = 0
    for inputs, labels in loader:
        optimizer.zero_grad()
        loss = criterion(net(inputs), labels)
        loss.backward()
        optimizer.step()
        running += loss.item() * inputs.size(0)
        seen += len(labels)
        num_batches += 1
    print(f"Training loss: {running / seen:.3f} in {num_batches} batches")


@torch.no_grad()
def validate(net, loader, criterion):
    net.eval()
    losses, hits = 0.0, 0.0
    for inputs, labels in loader:
        scores = net(inputs)
        losses += criterion(scores, labels).item()
        hits += accuracy(scores, labels)
    return losses / len(loader), hits / len(loader)


def main():
    x = torch.randn(120, 4)
    data = TensorDataset(x, (x.sum(1) > 0).long())
    train_set, val_set, test_set = random_split(data, [80, 20, 20])
    train_loader = DataLoader(train_set, batch_size=16, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=16)
    test_loader = DataLoader(test_set, batch_size=16)
    net = nn.Linear(4, 2)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5, momentum=0.9)
    for epoch in range(4):
        train_epoch(net, train_loader, criterion, optimizer)
        val_loss, val_accuracy = validate(net, val_loader, criterion)
        print(f"Epoch {epoch}: val loss {val_loss:.4f}, val accuracy {val_accuracy:.3f}")
    test_loss, test_accuracy = validate(net, test_loader, criterion)
    print(f"Test loss {test_loss:.4f}, test accuracy {test_accuracy:.3f}")


if __name__ == "__main__":
    main()
