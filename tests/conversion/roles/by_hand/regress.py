import torch

torch.manual_seed(3)
TRUE = 5.0
RATE = 0.01


def target(x):
    return TRUE * x + 1


w = torch.randn(1, requires_grad=True)
b = torch.zeros(1, requires_grad=True)


def get_batch(n=32):
    x = torch.randn(n)
    return x, target(x)


def square(guess, y):
    return ((guess - y) ** 2).mean()


for turn in range(300):
    x, y = get_batch()
    loss = square(w * x + b, y)
    loss.backward()
    with torch.no_grad():
        w -= RATE * w.grad
        b -= RATE * b.grad
        w.grad.zero_()
        b.grad.zero_()
    if turn % 50 == 0:
        print(f"{turn}: {loss.item():.3f}")
