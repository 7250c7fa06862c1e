"""How fast Veriframe is, beside what limits it and beside what it replaces: ``python -m benchmarks.speed``."""
