"""One function: training, and an evaluation that only the whole data can answer, side by side."""

import math

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def main():
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda")
    x = torch.rand(90, 2)
    train_loader = DataLoader(TensorDataset(x[:60], x[:60]), batch_size=12, shuffle=True)
    test_loader = DataLoader(TensorDataset(x[60:], x[60:]), batch_size=12)
    model = nn.Linear(2, 2)
    model.to(device)
    criterion = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    global_step = 0
    for epoch in range(3):
        total_loss = 0
        model.train()
        for a, b in train_loader:
            a, b = a.to(device), b.to(device)
            optimizer.zero_grad()
            loss = criterion(model(a), b)
            loss.backward()
            optimizer.step()
            total_loss += loss.item()
            global_step += 1
        print(f"epoch {epoch} step {global_step} train loss {total_loss / len(train_loader):.4f}")

        model.eval()
        psnr = 0
        with torch.no_grad():
            for a, b in test_loader:
                mse = criterion(model(a.to(device)), b.to(device))
                psnr += 10 * math.log10(1 / mse.item())
        print(f"test PSNR {psnr / len(test_loader):.2f} dB")


if __name__ == "__main__":
    main()
