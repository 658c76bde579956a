"""Retraining that can be trusted: credential, model versions, audit log, job store, launcher, data sets.

Nothing here trains: jobs run `python -m dermdemo ...` commands as processes of their own, and all that is
known of them is read from what they write.
"""
