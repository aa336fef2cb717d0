import argparse

import gymnasium as gym
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.distributions import Categorical

parser = argparse.ArgumentParser(description="policy gradient")
parser.add_argument("--gamma", type=float, default=0.99)
parser.add_argument("--seed", type=int, default=7)
args = parser.parse_args()

env = gym.make("CartPole-v1")
torch.manual_seed(args.seed)


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 64)
        self.head = nn.Linear(64, 2)
        self.logs = []
        self.rewards = []

    def forward(self, x):
        return F.softmax(self.head(F.relu(self.inner(x))), dim=1)


policy = Policy()
optimizer = optim.Adam(policy.parameters(), lr=1e-2)


def choose(state):
    chances = policy(torch.from_numpy(state).float().unsqueeze(0))
    draw = Categorical(chances)
    action = draw.sample()
    policy.logs.append(draw.log_prob(action))
    return action.item()


def learn():
    total, returns = 0, []
    for reward in reversed(policy.rewards):
        total = reward + args.gamma * total
        returns.insert(0, total)
    returns = torch.tensor(returns)
    returns = (returns - returns.mean()) / (returns.std() + 1e-6)
    terms = [-log * r for log, r in zip(policy.logs, returns)]
    optimizer.zero_grad()
    objective = torch.cat(terms).sum()
    objective.backward()
    optimizer.step()
    policy.rewards.clear()
    policy.logs.clear()


def main():
    running = 10
    for episode in range(1000):
        state, _ = env.reset()
        length = 0
        for length in range(500):
            state, reward, done, _, _ = env.step(choose(state))
            policy.rewards.append(reward)
            if done:
                break
        running = 0.05 * length + 0.95 * running
        learn()
        if running > 450:
            break


if __name__ == "__main__":
    main()
