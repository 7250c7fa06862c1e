"""Telling other programs that an analysis has ended.

``outbox`` writes events and deliveries in the transaction that ends the analysis, ``delivery`` sends them,
``endpoints`` is what users ask for, ``guarded`` is the way out of the house that leads to no private network.
"""
