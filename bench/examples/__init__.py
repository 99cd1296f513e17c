"""Programs to copy from: a mechanism of one's own, and AttentionRNN in a network of torchvision."""
