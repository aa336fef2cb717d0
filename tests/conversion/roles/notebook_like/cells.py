import numpy as np
import matplotlib.pyplot as plt
import torch
from torch import nn

points = np.random.rand(200, 1).astype("float32")
values = 3 * points + 0.1 * np.random.randn(200, 1).astype("float32")

steps = 400
rate = 0.05

line = nn.Linear(1, 1)
distance = nn.MSELoss()
mover = torch.optim.SGD(line.parameters(), lr=rate)

history = []
for step in range(steps):
    x = torch.from_numpy(points)
    y = torch.from_numpy(values)
    error = distance(line(x), y)
    mover.zero_grad()
    error.backward()
    mover.step()
    history.append(error.item())
    if step % 100 == 0:
        print("step %d error %.4f" % (step, error.item()))


def draw(curve):
    plt.plot(curve)
    plt.show()


draw(history)
