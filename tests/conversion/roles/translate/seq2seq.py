import random

import torch
import torch.nn as nn
from torch import optim
import torch.nn.functional as F

MAX = 12
HIDDEN = 128
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Words:
    def __init__(self):
        self.index = {"<s>": 0, "</s>": 1}

    def add(self, sentence):
        for word in sentence.split():
            self.index.setdefault(word, len(self.index))


def read_lines(path):
    with open(path, encoding="utf-8") as file:
        pairs = [line.strip().split("\t") for line in file]
    source, target = Words(), Words()
    for a, b in pairs:
        source.add(a)
        target.add(b)
    return source, target, pairs


class Encoder(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.embedding = nn.Embedding(size, HIDDEN)
        self.gru = nn.GRU(HIDDEN, HIDDEN)

    def forward(self, word, hidden):
        return self.gru(self.embedding(word).view(1, 1, -1), hidden)


class Decoder(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.embedding = nn.Embedding(size, HIDDEN)
        self.gru = nn.GRU(HIDDEN, HIDDEN)
        self.out = nn.Linear(HIDDEN, size)

    def forward(self, word, hidden):
        output, hidden = self.gru(F.relu(self.embedding(word).view(1, 1, -1)), hidden)
        return F.log_softmax(self.out(output[0]), dim=1), hidden


def to_tensor(words, sentence):
    return torch.tensor([words.index[w] for w in sentence.split()] + [1], device=device).view(-1, 1)


def train_pair(source, target, encoder, decoder, encoder_optimizer, decoder_optimizer, criterion):
    hidden = torch.zeros(1, 1, HIDDEN, device=device)
    encoder_optimizer.zero_grad()
    decoder_optimizer.zero_grad()
    loss = 0
    for word in source:
        _, hidden = encoder(word, hidden)
    word = torch.tensor([[0]], device=device)
    for wanted in target:
        output, hidden = decoder(word, hidden)
        loss += criterion(output, wanted)
        word = wanted if random.random() < 0.5 else output.topk(1)[1].detach()
    loss.backward()
    encoder_optimizer.step()
    decoder_optimizer.step()
    return loss.item() / len(target)


def translate(encoder, decoder, words, sentence):
    with torch.no_grad():
        hidden = torch.zeros(1, 1, HIDDEN, device=device)
        for word in to_tensor(words, sentence):
            _, hidden = encoder(word, hidden)
        word, found = torch.tensor([[0]], device=device), []
        for _ in range(MAX):
            output, hidden = decoder(word, hidden)
            word = output.topk(1)[1]
            found.append(word.item())
        return found


def train_all(encoder, decoder, turns, lr=0.01):
    first = optim.SGD(encoder.parameters(), lr=lr)
    second = optim.SGD(decoder.parameters(), lr=lr)
    criterion = nn.NLLLoss()
    for turn in range(turns):
        a, b = random.choice(pairs)
        cost = train_pair(to_tensor(source, a), to_tensor(target, b), encoder, decoder, first, second, criterion)
        if turn % 100 == 0:
            print("%d %.4f" % (turn, cost))


source, target, pairs = read_lines("pairs.txt")
reader = Encoder(len(source.index)).to(device)
writer = Decoder(len(target.index)).to(device)
train_all(reader, writer, 1000)
print(translate(reader, writer, source, pairs[0][0]))
