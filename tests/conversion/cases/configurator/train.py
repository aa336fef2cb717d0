"""Learns to count on a ring; its options are constants that the command line may override."""
import torch
from torch import nn

# how it trains
batch_size = 12 # pairs of a step
max_iters = 2 * 3 # steps
learning_rate = 1e-2
decay_lr = True # smaller steps with time
# the ring
ring_size = 10
out_dir = "out"
# -----------------------------------------------------------------------------
config_keys = [k for k, v in globals().items() if not k.startswith("_") and isinstance(v, (int, float, bool, str))]
exec(open("configurator.py").read()) # overrides from the command line
config = {k: globals()[k] for k in config_keys} # for the log
# -----------------------------------------------------------------------------
batch_size *= 2
torch.manual_seed(0)


class Ring(nn.Module):
    def __init__(self, size, width=8):
        super().__init__()
        self.embedding, self.out = nn.Embedding(size, width), nn.Linear(width, size)

    def forward(self, x):
        return self.out(self.embedding(x))

    @classmethod
    def of(cls, size):
        return cls(size)

    def configure_optimizers(self, lr):
        biases = [p for p in self.parameters() if p.dim() < 2]
        others = [p for p in self.parameters() if p.dim() >= 2]
        optimizer = torch.optim.AdamW([{"params": others}, {"params": biases, "weight_decay": 0.0}], lr=lr)
        return optimizer


model = Ring.of(ring_size)
optimizer = model.configure_optimizers(learning_rate)


def get_lr(step):
    return learning_rate * (1 - step / max_iters) if decay_lr else learning_rate


print(config)
for step in range(max_iters):
    for group in optimizer.param_groups:
        group["lr"] = get_lr(step)
    x = torch.randint(ring_size, (batch_size,))
    loss = nn.functional.cross_entropy(model(x), (x + 1) % ring_size)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"step {step}: loss {loss.item():.4f}")
