"""A transformer that predicts the next character."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class Block(nn.Module):
    """Attention to what came before, then a small network, both added to their input."""

    def __init__(self, width, heads, dropout):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.mix = nn.Linear(width, width, bias=False)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.drop = nn.Dropout(dropout)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = self.qkv(self.norm1(x)).split(C, dim=2)
        q, k, v = (t.view(B, T, self.heads, C // self.heads).transpose(1, 2) for t in (q, k, v))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.drop(self.mix(a.transpose(1, 2).reshape(B, T, C)))
        return x + self.drop(self.mlp(self.norm2(x)))


class CharLM(nn.Module):
    def __init__(self, vocab_size, block_size, width=48, depth=2, heads=4, dropout=0.1):
        super().__init__()
        self.block_size = block_size
        self.token = nn.Embedding(vocab_size, width)
        self.place = nn.Embedding(block_size, width)
        self.blocks = nn.ModuleList([Block(width, heads, dropout) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab_size, bias=False)
        self.head.weight = self.token.weight  # one table for reading and writing
        self.apply(self._init)

    def _init(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.05)

    def forward(self, x, y=None):
        h = self.token(x) + self.place(torch.arange(x.shape[1], device=x.device))
        for block in self.blocks:
            h = block(h)
        logits = self.head(self.norm(h))
        if y is None:
            return logits, None
        return logits, F.cross_entropy(logits.flatten(0, 1), y.flatten())

    @torch.no_grad()
    def generate(self, x, length, temperature=1.0):
        """Go on with x, one character at a time."""
        for _ in range(length):
            logits, _ = self(x[:, -self.block_size :])
            chances = F.softmax(logits[:, -1] / temperature, dim=-1)
            x = torch.cat([x, torch.multinomial(chances, 1)], dim=1)
        return x
