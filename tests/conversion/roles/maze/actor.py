import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import wandb


class Maze:
    def __init__(self, size):
        self.size = size

    def reset(self):
        self.at = 0
        return np.eye(self.size, dtype=np.float32)[self.at]

    def step(self, action):
        self.at = max(0, min(self.size - 1, self.at + (1 if action else -1)))
        done = self.at == self.size - 1
        return np.eye(self.size, dtype=np.float32)[self.at], float(done), done


class ActorCritic(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.shared = nn.Linear(size, 32)
        self.actor = nn.Linear(32, 2)
        self.critic = nn.Linear(32, 1)

    def forward(self, x):
        h = F.relu(self.shared(x))
        return F.log_softmax(self.actor(h), -1), self.critic(h)


def episode(env, net):
    state, done, rows = env.reset(), False, []
    while not done and len(rows) < 200:
        logp, value = net(torch.from_numpy(state))
        action = torch.distributions.Categorical(logits=logp).sample()
        state, reward, done = env.step(action.item())
        rows.append((logp[action], value, reward))
    return rows


def actor_critic_loss(rows, gamma):
    total, loss = 0.0, 0.0
    for logp, value, reward in reversed(rows):
        total = reward + gamma * total
        advantage = total - value.item()
        loss = loss - logp * advantage + F.mse_loss(value, torch.tensor([total]))
    return loss


def main():
    run = wandb.init(project="maze")
    torch.manual_seed(0)
    env = Maze(8)
    net = ActorCritic(8)
    opt = torch.optim.Adam(net.parameters(), 3e-3)
    for number in range(500):
        rows = episode(env, net)
        loss = actor_critic_loss(rows, 0.99)
        opt.zero_grad()
        loss.backward()
        opt.step()
        run.log({"loss": loss.item(), "length": len(rows)})
    torch.save(net, "maze.pt")


main()
