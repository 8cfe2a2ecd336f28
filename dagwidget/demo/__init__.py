"""`dagwidget demo`, and simulated runs."""
