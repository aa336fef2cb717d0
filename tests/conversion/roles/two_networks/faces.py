import torch
import torch.nn as nn
from torch.utils.data import DataLoader
import torchvision.datasets as dset
import torchvision.transforms as T
import torchvision.utils as vutils

SIZE = 32
NOISE = 64
BATCH = 128
device = "cuda:0" if torch.cuda.is_available() else "cpu"


class Painter(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.ConvTranspose2d(NOISE, 3, SIZE), nn.Tanh())

    def forward(self, z):
        return self.body(z)


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 1, SIZE), nn.Sigmoid())

    def forward(self, x):
        return self.body(x).flatten()


def start_weights(m):
    if isinstance(m, nn.Conv2d):
        nn.init.normal_(m.weight, 0.0, 0.02)


pictures = dset.ImageFolder("faces", transform=T.Compose([T.Resize(SIZE), T.ToTensor()]))
loader = DataLoader(pictures, BATCH, shuffle=True, drop_last=True)
painter = Painter().to(device)
critic = Critic().to(device)
painter.apply(start_weights)
critic.apply(start_weights)
bce = nn.BCELoss()
opt_p = torch.optim.Adam(painter.parameters(), 2e-4, betas=(0.5, 0.999))
opt_c = torch.optim.Adam(critic.parameters(), 2e-4, betas=(0.5, 0.999))
fixed = torch.randn(64, NOISE, 1, 1, device=device)

for epoch in range(5):
    for i, (real, _) in enumerate(loader):
        real = real.to(device)
        ones = torch.ones(len(real), device=device)
        critic.zero_grad()
        loss_real = bce(critic(real), ones)
        fake = painter(torch.randn(len(real), NOISE, 1, 1, device=device))
        loss_fake = bce(critic(fake.detach()), ones * 0)
        loss_c = loss_real + loss_fake
        loss_c.backward()
        opt_c.step()
        painter.zero_grad()
        loss_p = bce(critic(fake), ones)
        loss_p.backward()
        opt_p.step()
    vutils.save_image(painter(fixed), "epoch_%d.png" % epoch)
