"""People judge what the model judged: queue, opinions, decisions, disputes, the log, and what is learnt from them."""
