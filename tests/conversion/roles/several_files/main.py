from config import Config
from data import make_loaders
from engine import train_one_epoch, validate
from nets import build_model
import torch
from utils import load_state, save_state, set_seed


def main():
    cfg = Config()
    set_seed(cfg.seed)
    train_loader, val_loader = make_loaders(cfg)
    model = build_model(cfg)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=cfg.lr)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, cfg.epochs)
    first = load_state(cfg.path, model, optimizer) if cfg.resume else 0
    for epoch in range(first, cfg.epochs):
        train_one_epoch(model, train_loader, optimizer)
        validate(model, val_loader)
        scheduler.step()
        save_state(cfg.path, model, optimizer, epoch)


if __name__ == "__main__":
    main()
