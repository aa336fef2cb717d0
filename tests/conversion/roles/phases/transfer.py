import copy
import time

import torch
import torch.nn as nn
import torch.optim as optim
from torch.optim import lr_scheduler
from torchvision import datasets, models, transforms
import matplotlib.pyplot as plt

changes = {
    "train": transforms.Compose([transforms.RandomResizedCrop(224), transforms.ToTensor()]),
    "val": transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()]),
}
folders = {x: datasets.ImageFolder("leaves/" + x, changes[x]) for x in ["train", "val"]}
feeds = {x: torch.utils.data.DataLoader(folders[x], batch_size=4, shuffle=True) for x in ["train", "val"]}
sizes = {x: len(folders[x]) for x in ["train", "val"]}
where = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")


def show_image(tensor, title=None):
    plt.imshow(tensor.numpy().transpose((1, 2, 0)))
    if title is not None:
        plt.title(title)
    plt.pause(0.001)


def train_model(model, criterion, optimizer, scheduler, num_epochs=25):
    since = time.time()
    best = copy.deepcopy(model.state_dict())
    best_acc = 0.0
    for epoch in range(num_epochs):
        for phase in ["train", "val"]:
            model.train() if phase == "train" else model.eval()
            right = 0
            for x, y in feeds[phase]:
                x, y = x.to(where), y.to(where)
                optimizer.zero_grad()
                with torch.set_grad_enabled(phase == "train"):
                    out = model(x)
                    loss = criterion(out, y)
                    if phase == "train":
                        loss.backward()
                        optimizer.step()
                right += torch.sum(out.argmax(1) == y.data)
            if phase == "train":
                scheduler.step()
            acc = right.double() / sizes[phase]
            if phase == "val" and acc > best_acc:
                best_acc = acc
                best = copy.deepcopy(model.state_dict())
    print("took", time.time() - since)
    model.load_state_dict(best)
    return model


leaves = models.resnet18(weights="DEFAULT")
leaves.fc = nn.Linear(leaves.fc.in_features, 2)
leaves = leaves.to(where)
measure = nn.CrossEntropyLoss()
fine = optim.SGD(leaves.parameters(), lr=0.001, momentum=0.9)
decay = lr_scheduler.StepLR(fine, step_size=7, gamma=0.1)
leaves = train_model(leaves, measure, fine, decay)
