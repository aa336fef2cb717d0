import torch


def top1(output, target):
    with torch.no_grad():
        return (output.topk(1)[1].squeeze(1) == target).float().mean().item()
