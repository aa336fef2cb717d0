"""A small GAN on points of a ring: two models and two optimizers in one loop."""
