"""Programs to copy from: a mechanism of your own, and AttentionRNN in a network of torchvision."""
