from dataclasses import dataclass


@dataclass
class Config:
    lr: float = 1e-3
    epochs: int = 5
    seed: int = 11
    path: str = "state.pt"
    resume: bool = False
    width: int = 64
