import sys

import torch
import yaml

from lib.data import Triples, flip
from lib.nets import Embedder, TripletLoss
from lib.trainers import TripletTrainer


def load_config(path):
    with open(path) as f:
        return yaml.safe_load(f)


if __name__ == "__main__":
    config = load_config(sys.argv[1])
    torch.manual_seed(config["seed"])
    model = Embedder(config["width"])
    optimizer = torch.optim.Adam(model.parameters(), lr=config["lr"])
    trainer = TripletTrainer(model, optimizer, TripletLoss(config["margin"]), Triples("triples.pt", flip))
    trainer.run(config["epochs"])
