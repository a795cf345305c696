"""The whole bridge against a model of its network and its broker, in virtual time, from a seed."""
