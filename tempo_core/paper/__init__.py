"""What goes into a paper about runs: figures, tables, settings and a methods section, from stored values alone."""
