"""Attribution: post-hoc maps of a network, their scores, and whether the pixels that they show decide the answer."""
