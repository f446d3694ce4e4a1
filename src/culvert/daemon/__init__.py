"""culvertd: one process that listens, serves the procedures, runs the guests and migrates them."""
