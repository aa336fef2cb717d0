import torch
from torch.utils.data import DataLoader


class BaseTrainer:
    def __init__(self, model, optimizer, criterion, data):
        self.model = model
        self.optimizer = optimizer
        self.criterion = criterion
        self.loader = DataLoader(data, batch_size=16, shuffle=True)

    def compute(self, batch):
        raise NotImplementedError

    def run(self, epochs):
        for epoch in range(epochs):
            for batch in self.loader:
                loss = self.compute(batch)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
            self.save(epoch)

    def save(self, epoch):
        torch.save(self.model.state_dict(), f"{epoch}.pt")


class TripletTrainer(BaseTrainer):
    def compute(self, batch):
        return self.criterion(*(self.model(x) for x in batch))
