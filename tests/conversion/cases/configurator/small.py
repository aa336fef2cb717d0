# a small ring
ring_size = 5
learning_rate = 1e-2 / 2
batch_size = 3 * 1
