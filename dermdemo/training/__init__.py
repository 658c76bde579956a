"""Stage I, Stage II, contrastive and supervised pretraining, and the one loop under them.

Never imported by analysis, jobs or the UI: they read what a run writes.
"""
