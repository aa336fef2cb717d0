"""Sort seeds by their measures, as one wrote it in 2017."""

import time
from collections import Iterable

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.autograd import Variable
from torch.nn.utils import clip_grad_norm
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = 3
cuda = torch.cuda.is_available()


class Sorter(nn.Module):
    def __init__(self, widths):
        super(Sorter, self).__init__()
        assert isinstance(widths, Iterable)
        first, second = widths
        self.inner = nn.Linear(7, first)
        self.outer = nn.Linear(first, second)
        nn.init.xavier_uniform(self.inner.weight)
        nn.init.constant(self.inner.bias, 0.1)

    def forward(self, x):
        return F.log_softmax(self.outer(F.relu(self.inner(x))), 1)


def on_device(x):
    return x.cuda(async=True) if cuda else x


def seeds(number):
    np.random.seed(number)
    kinds = np.random.randint(0, 3, number).astype(np.int)
    measures = (np.random.randn(number, 7) + kinds[:, None]).astype(np.float32)
    return TensorDataset(torch.from_numpy(measures), torch.from_numpy(kinds).long())


def judge(model, loader):
    model.eval()
    test_loss, right = 0.0, 0
    for x, y in loader:
        x, y = Variable(on_device(x), volatile=True), Variable(on_device(y), volatile=True)
        scores = model(x)
        test_loss += F.nll_loss(scores, y, size_average=False).data[0]
        right += torch.sum(scores.max(1)[1] == y).data[0]
    return test_loss / len(loader.dataset), right


def main():
    torch.manual_seed(3)
    train_loader = DataLoader(seeds(120), batch_size=24, shuffle=True)
    test_loader = DataLoader(seeds(60), batch_size=30)
    model = Sorter((16, 3))
    if cuda:
        model.cuda()
    criterion = nn.NLLLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = ReduceLROnPlateau(optimizer, "min", patience=1, verbose=True)
    best = np.Inf
    started = time.clock()
    for epoch in range(EPOCHS):
        model.train()
        train_loss = 0.0
        for x, y in train_loader:
            x, y = Variable(on_device(x)), Variable(on_device(y))
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward(retain_variables=False)
            clip_grad_norm(model.parameters(), 1.0)
            optimizer.step()
            train_loss += loss.data[0]
        print("epoch %d, train loss %.6f" % (epoch, train_loss / len(train_loader)))
        test_loss, right = judge(model, test_loader)
        scheduler.step(test_loss)
        print("epoch %d, test loss %.6f, right %d" % (epoch, test_loss, right))
        if test_loss < best:
            best = test_loss
            torch.save(model, "sorter.pt")
    sorter = torch.load("sorter.pt")
    test_loss, right = judge(sorter, test_loader)
    print("best test loss %.6f, right %d, in time: %s" % (test_loss, right, time.clock() - started > 0))


if __name__ == "__main__":
    main()
