"""A running DAG, live in a notebook cell, that a person can steer."""
