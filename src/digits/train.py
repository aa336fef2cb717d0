"""Recognise handwritten digits: a small CNN on scikit-learn's 1,797 scans of 8 x 8 pixels."""

import argparse
import os

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, Dataset

NUM_CLASSES = 10
PIXEL_MAX = 16.0


class RandomShift:
    """Move the picture by up to `pixels` in each direction."""

    def __init__(self, pixels):
        self.pixels = pixels

    def __call__(self, image):
        dy, dx = np.random.randint(-self.pixels, self.pixels + 1, size=2)
        return np.roll(image, (dy, dx), axis=(0, 1))


def load_scans(folder):
    """All scans and what they show; scikit-learn's own copy if nobody has downloaded them."""
    path = os.path.join(folder, "digits.csv.gz")
    if not os.path.exists(path):
        return load_digits(return_X_y=True)
    table = np.loadtxt(path, delimiter=",")
    return table[:, :-1], table[:, -1].astype(int)


class DigitsDataset(Dataset):
    def __init__(self, folder, train=True, test_fraction=0.2, transform=None):
        images, labels = load_scans(folder)
        split = train_test_split(
            images, labels, test_size=test_fraction, random_state=0, stratify=labels
        )
        train_x, test_x, train_y, test_y = split
        self.images = train_x if train else test_x
        self.labels = train_y if train else test_y
        self.transform = transform

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        image = self.images[index].reshape(8, 8) / PIXEL_MAX
        if self.transform is not None:
            image = self.transform(image)
        # one channel in front, as Conv2d wants it
        image = torch.tensor(image, dtype=torch.float32).unsqueeze(0)
        return image, int(self.labels[index])


class Net(nn.Module):
    def __init__(self, width=32, dropout=0.1):
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.drop1 = nn.Dropout(dropout)
        self.drop2 = nn.Dropout(2 * dropout)
        self.fc1 = nn.Linear(2 * width * 4 * 4, 128)
        self.fc2 = nn.Linear(128, NUM_CLASSES)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = F.max_pool2d(x, 2)
        x = self.drop1(x)
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = self.drop2(x)
        return F.log_softmax(self.fc2(x), dim=1)


def train(args, model, device, train_loader, optimizer, epoch):
    model.train()
    for batch_idx, (data, target) in enumerate(train_loader):
        data, target = data.to(device), target.to(device)
        optimizer.zero_grad()
        output = model(data)
        loss = F.nll_loss(output, target)
        loss.backward()
        optimizer.step()
        if batch_idx % args.log_interval == 0:
            print(
                "Train Epoch: {} [{}/{} ({:.0f}%)]\tLoss: {:.6f}".format(
                    epoch,
                    batch_idx * len(data),
                    len(train_loader.dataset),
                    100.0 * batch_idx / len(train_loader),
                    loss.item(),
                )
            )
            if args.dry_run:
                break


def test(model, device, test_loader):
    model.eval()
    test_loss = 0
    correct = 0
    with torch.no_grad():
        for data, target in test_loader:
            data, target = data.to(device), target.to(device)
            output = model(data)
            test_loss += F.nll_loss(output, target, reduction="sum").item()  # sum up batch loss
            pred = output.argmax(dim=1, keepdim=True)  # most likely class
            correct += pred.eq(target.view_as(pred)).sum().item()

    test_loss /= len(test_loader.dataset)
    print(
        "\nTest set: Average loss: {:.4f}, Accuracy: {}/{} ({:.1f}%)\n".format(
            test_loss,
            correct,
            len(test_loader.dataset),
            100.0 * correct / len(test_loader.dataset),
        )
    )


def main():
    parser = argparse.ArgumentParser(description="Handwritten digits with a small CNN")
    parser.add_argument("--batch-size", type=int, default=64, help="training batch size")
    parser.add_argument("--test-batch-size", type=int, default=200, help="test batch size")
    parser.add_argument("--epochs", type=int, default=20, help="passes over the training set")
    parser.add_argument("--lr", type=float, default=1.0, help="learning rate of Adadelta")
    parser.add_argument("--gamma", type=float, default=0.9, help="learning rate decay per epoch")
    parser.add_argument("--width", type=int, default=32, help="channels of the first convolution")
    parser.add_argument("--dropout", type=float, default=0.1, help="dropout before the first layer")
    parser.add_argument("--shift", type=int, default=1, help="augment by shifts of up to this many pixels")
    parser.add_argument("--data-dir", default="data", help="folder of digits.csv.gz, if it was downloaded")
    parser.add_argument("--no-cuda", action="store_true", help="train on the CPU")
    parser.add_argument("--dry-run", action="store_true", help="one batch an epoch, to see that it runs")
    parser.add_argument("--seed", type=int, default=1, help="random seed")
    parser.add_argument("--log-interval", type=int, default=5, help="batches between two lines of log")
    parser.add_argument("--save-model", action="store_true", help="save the trained weights")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    use_cuda = not args.no_cuda and torch.cuda.is_available()
    device = torch.device("cuda" if use_cuda else "cpu")

    train_kwargs = {"batch_size": args.batch_size, "shuffle": True}
    test_kwargs = {"batch_size": args.test_batch_size}
    if use_cuda:
        cuda_kwargs = {"num_workers": 1, "pin_memory": True}
        train_kwargs.update(cuda_kwargs)
        test_kwargs.update(cuda_kwargs)

    transform = RandomShift(args.shift)
    train_set = DigitsDataset(args.data_dir, train=True, transform=transform)
    test_set = DigitsDataset(args.data_dir, train=False)
    train_loader = DataLoader(train_set, **train_kwargs)
    test_loader = DataLoader(test_set, **test_kwargs)

    model = Net(args.width, args.dropout).to(device)
    optimizer = optim.Adadelta(model.parameters(), lr=args.lr)
    scheduler = StepLR(optimizer, step_size=1, gamma=args.gamma)

    for epoch in range(1, args.epochs + 1):
        train(args, model, device, train_loader, optimizer, epoch)
        test(model, device, test_loader)
        scheduler.step()

    if args.save_model:
        torch.save(model.state_dict(), "digits_cnn.pt")


if __name__ == "__main__":
    main()
