"""Command line of `bench`. Each command parses its options, makes one call and prints the result."""
