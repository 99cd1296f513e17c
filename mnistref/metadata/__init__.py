"""Pages of a data set: data card, Croissant file, credits."""
