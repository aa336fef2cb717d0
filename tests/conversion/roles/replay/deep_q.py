import random
from collections import deque

import gym
import torch
from torch import nn, optim

GAMMA = 0.98
START = 500


class Memory:
    def __init__(self, size):
        self.items = deque(maxlen=size)

    def keep(self, item):
        self.items.append(item)

    def sample(self, n):
        rows = random.sample(self.items, n)
        states, actions, rewards, following = zip(*rows)
        return torch.tensor(states), torch.tensor(actions), torch.tensor(rewards), torch.tensor(following)


class Values(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2))

    def forward(self, x):
        return self.net(x)

    def act(self, state, epsilon):
        if random.random() < epsilon:
            return random.randint(0, 1)
        return self.forward(state).argmax().item()


def improve(online, frozen, memory, optimizer):
    for _ in range(10):
        state, action, reward, following = memory.sample(32)
        value = online(state).gather(1, action.unsqueeze(1)).squeeze(1)
        goal = reward + GAMMA * frozen(following).max(1)[0]
        loss = nn.functional.smooth_l1_loss(value, goal.detach())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def run():
    world = gym.make("CartPole-v1")
    online, frozen = Values(), Values()
    frozen.load_state_dict(online.state_dict())
    memory = Memory(50000)
    optimizer = optim.Adam(online.parameters(), lr=5e-4)
    for episode in range(2000):
        state, done = world.reset(), False
        while not done:
            action = online.act(torch.from_numpy(state), 0.05)
            following, reward, done, _ = world.step(action)
            memory.keep((state, action, reward, following))
            state = following
        if len(memory.items) > START:
            improve(online, frozen, memory, optimizer)
        if episode % 20 == 0:
            frozen.load_state_dict(online.state_dict())


run()
