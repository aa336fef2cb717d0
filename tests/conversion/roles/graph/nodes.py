import torch
import torch.nn.functional as F
from torch_geometric.datasets import Planetoid
from torch_geometric.nn import GCNConv
import torch_geometric.transforms as T
from sklearn.metrics import f1_score

graphs = Planetoid("data", "Cora", transform=T.NormalizeFeatures())
graph = graphs[0]


class Net(torch.nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = GCNConv(graphs.num_features, 16)
        self.conv2 = GCNConv(16, graphs.num_classes)

    def forward(self, data):
        x = F.dropout(F.relu(self.conv1(data.x, data.edge_index)), training=self.training)
        return F.log_softmax(self.conv2(x, data.edge_index), dim=1)


net = Net()
adam = torch.optim.Adam(net.parameters(), lr=0.01, weight_decay=5e-4)


def train():
    net.train()
    adam.zero_grad()
    out = net(graph)
    nll = F.nll_loss(out[graph.train_mask], graph.y[graph.train_mask])
    nll.backward()
    adam.step()
    return nll.item()


@torch.no_grad()
def test():
    net.eval()
    guess = net(graph).argmax(1)
    return f1_score(graph.y[graph.test_mask], guess[graph.test_mask], average="micro")


for epoch in range(1, 201):
    nll = train()
    print(f"Epoch {epoch:03d} loss {nll:.4f} f1 {test():.4f}")
