"""Trains a causal transformer with all that such loops have.

Accumulated gradients, bfloat16, clipping, a rate that changes at every step, and an evaluation in the
middle of the training loop.

Shapes: B pieces of text, T tokens, C numbers a token, V kinds of tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn, optim
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Dataset

from bessemer import Run
from bessemer.data.loaders import Loader
from transformer.settings import Settings

NUM_TOKENS = 29
NUM_TEST_PIECES = 100


class Text(Dataset[Tensor]):
    """Pieces of a text in which every token follows from the one before it, with a few slips."""

    def __init__(self, num_pieces: int, length: int, start: int) -> None:
        self.num_pieces, self.length, self.start = num_pieces, length, start

    def __len__(self) -> int:
        return self.num_pieces

    def __getitem__(self, index: int) -> Tensor:
        number = self.start + index
        tokens = [number % NUM_TOKENS]
        while len(tokens) <= self.length:
            slip = (number * 31 + len(tokens) * 17) % 53 == 0
            tokens.append((3 * tokens[-1] + 1 + int(slip)) % NUM_TOKENS)
        return torch.tensor(tokens)


class Transformer(nn.Module):
    """Predicts the token after each token."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.tokens = nn.Embedding(NUM_TOKENS, settings.width)
        self.places = nn.Embedding(settings.length, settings.width)
        block = nn.TransformerEncoderLayer(
            settings.width,
            nhead=4,
            dim_feedforward=2 * settings.width,
            dropout=settings.dropout,
            batch_first=True,
            norm_first=True,
        )
        self.blocks = nn.TransformerEncoder(block, settings.num_layers, enable_nested_tensor=False)
        self.head = nn.Linear(settings.width, NUM_TOKENS)

    def forward(self, text_BT: Tensor) -> Tensor:  # noqa: N803
        length = text_BT.shape[1]
        places_T = torch.arange(length, device=text_BT.device)  # noqa: N806
        x_BTC = self.tokens(text_BT) + self.places(places_T)  # noqa: N806
        mask_TT = nn.Transformer.generate_square_subsequent_mask(length, device=text_BT.device)  # noqa: N806
        logits_BTV: Tensor = self.head(self.blocks(x_BTC, mask=mask_TT, is_causal=True))  # noqa: N806
        return logits_BTV


def loss_of(model: nn.Module, text: Tensor, device: torch.device) -> Tensor:
    """Return the mean loss over all tokens of a batch."""
    text = text.to(device)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        logits = model(text[:, :-1])
    return F.cross_entropy(logits.float().flatten(0, 1), text[:, 1:].flatten())


def evaluate(run: Run, model: nn.Module, loader: Loader[Tensor]) -> float:
    """Return the mean loss over pieces that were not trained on."""
    model.eval()
    totals = run.totals(loss=0.0, num_pieces=0)
    with torch.no_grad():
        for text in loader:
            totals.loss += loss_of(model, text, run.device).item() * len(text)
            totals.num_pieces += len(text)
    model.train()
    return float(totals.loss / totals.num_pieces)


def train(run: Run, settings: Settings) -> None:
    torch.manual_seed(settings.seed)
    model = run.place(Transformer(settings))
    optimizer = optim.AdamW(model.parameters(), lr=settings.lr)
    scheduler = LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / settings.warm_up))
    run.track(model=model, optimizer=optimizer, scheduler=scheduler)
    texts = Text(settings.num_pieces, settings.length, 0)
    tests = Text(NUM_TEST_PIECES, settings.length, settings.num_pieces)
    loader = run.loader(texts, batch_size=settings.batch_size, shuffle=True)
    test_loader = run.loader(tests, batch_size=50)
    kept = run.carry(num_steps=0, best=float("inf"))
    for _epoch in run.epochs(settings.epochs):
        optimizer.zero_grad()
        for index, text in loader.enumerate():
            loss = loss_of(model, text, run.device)
            (loss / settings.num_accumulated).backward()  # type: ignore[no-untyped-call]
            run.log({"train/loss": loss.detach()})
            if (index + 1) % settings.num_accumulated and index + 1 < len(loader):
                continue
            norm = nn.utils.clip_grad_norm_(model.parameters(), settings.max_norm)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            kept.num_steps += 1
            run.log({"train/norm": norm, "train/lr": scheduler.get_last_lr()[0]})
            if kept.num_steps % settings.evaluate_every == 0:
                loss_in_test = evaluate(run, model, test_loader)
                kept.best = min(kept.best, loss_in_test)
                run.log({"test/loss": loss_in_test, "test/best": kept.best})
