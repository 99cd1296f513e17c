"""Commands of `bench`: parse the options, make one call, print."""
