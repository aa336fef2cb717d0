"""What is used everywhere."""

RATE = 0.1


def accuracy(output, target):
    return ((output - target).abs() < 0.5).sum().item()


if __name__ == "__main__":
    print("a test of this file alone")
